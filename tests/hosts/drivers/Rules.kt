import edgernn.EdgernnException
import edgernn.get
import edgernn.openModel
import edgernn.set
import edgernn.stream
import edgernn.toTensor
import edgernn.zeros
import java.io.File
import java.nio.file.Paths

/** Call each extension function; the argument is an artifact with an input of three features. */
fun main(arguments: Array<String>) {
    val graph = File(arguments[0], "step.onnx").readBytes()
    val library = Paths.get(System.getenv("ONNXRUNTIME_LIBRARY"))
    openModel(step = graph, threads = 2, library = library).use { model ->
        println("hop ${model["hop"]}, source ${model["source"] != null}")
        val first = model.stream { stream ->
            val y = stream.step(floatArrayOf(1f, 2f, 3f).toTensor())["output"].copy()
            val state = stream["h_in"]
            stream.reset()
            stream["h_in"] = state
            println("state ${state.shape().toList()}, kept ${stream["h_in"][0] == state[0]}")
            y
        }
        val input = zeros(1, 3, name = "input")
        for (place in 0..2) input[place] = place + 1f
        val again = model.stream(batch = 1) { it.step(input)[0].copy() }
        println("same ${first.toFloats().contentEquals(again.toFloats())}")
        println("ids ${longArrayOf(1, 2).toTensor()}")
    }
    try {
        openModel(Paths.get(arguments[0]), provider = "other")
    } catch (error: EdgernnException) {
        println("error ${error.kind()}")
    }
}
