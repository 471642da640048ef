import edgernn.DType
import edgernn.EdgernnException
import edgernn.Graph
import edgernn.Model
import edgernn.Port
import edgernn.Stream
import edgernn.Tensor
import edgernn.get
import edgernn.openModel
import edgernn.set
import edgernn.zeros
import java.io.PrintStream
import java.nio.file.Paths
import java.util.Locale
import kotlin.system.exitProcess

/*
 * Run the artifact model.edgernn, beside the folder of the jar.
 *
 * Without arguments, replay the golden run, and print the differences and the time of a step; the
 * exit status is 1 where a difference is too large. With `step`, answer each line of numbers, one
 * step of each data input, with a line of the outputs; an empty line starts a new sequence.
 */
private const val TOLERANCE = 1e-5 // edgernn embed: tolerance

fun main(arguments: Array<String>) {
    System.setOut(PrintStream(System.out, true, "UTF-8")) // it prints a µ
    if (arguments.isNotEmpty() && !arguments.contentEquals(arrayOf("step"))) {
        exit("usage: java -jar lib/kotlin.jar [step]")
    }
    val jar = Paths.get(Model::class.java.protectionDomain.codeSource.location.toURI())
    try {
        openModel(jar.parent.resolveSibling("model.edgernn")).use { model ->
            model.stream(batchOf(model)).use { stream ->
                if (arguments.isNotEmpty()) answerLines(stream, inputsOf(model))
                else if (!check(model, stream)) exitProcess(1)
            }
        }
    } catch (error: EdgernnException) {
        exit(error.message)
    }
}

private fun exit(message: String?): Nothing {
    System.err.println("app: $message")
    exitProcess(2)
}

/** Print how far the golden run is from the recorded one; return whether that is close. */
private fun check(model: Model, stream: Stream): Boolean {
    val found = model.check()
    val carried = if (found.steps().isNaN()) found.chunks() else found.steps()
    val right = listOf(
        print("whole", found.whole(), TOLERANCE, mustAgree = true),
        print("by chunks", found.chunks(), TOLERANCE, mustAgree = true),
        print("by steps", found.steps(), TOLERANCE, mustAgree = true),
        print("without state", found.withoutState(), carried, mustAgree = false)
    )
    val agrees = right.all { it }
    val verdict = if (agrees) "reproduces" else "DIFFERS from"
    println("The model $verdict its golden run; the tolerance is %.0e.".format(Locale.ROOT, TOLERANCE))
    if (!found.steps().isNaN()) {
        val inputs = inputsOf(model)
        timeStep(stream, inputs, seconds = 0.3) // until it is compiled
        val time = timeStep(stream, inputs, seconds = 0.3)
        println("time           %.1f µs per step".format(Locale.ROOT, time))
    }
    return agrees
}

/** Print one difference; return whether it is as it must be. NaN does not apply. */
private fun print(way: String, difference: Double, limit: Double, mustAgree: Boolean): Boolean {
    if (difference.isNaN()) return true
    val right = (difference <= limit) == mustAgree
    val note = if (right) "" else ", WRONG"
    println("%-14s max difference %.1e%s".format(Locale.ROOT, way, difference, note))
    return right
}

/** Return the mean time of a step in µs. */
private fun timeStep(stream: Stream, inputs: Array<Tensor>, seconds: Double): Double {
    val start = System.nanoTime()
    var steps = 0
    while (System.nanoTime() - start < seconds * 1e9) {
        stream.reset()
        repeat(16) { stream.step(*inputs) }
        steps += 16
    }
    return (System.nanoTime() - start) / 1e3 / steps
}

/** Return a tensor of zeros for one step of each data input. */
private fun inputsOf(model: Model): Array<Tensor> =
    model.inputs(if (model.hasGraph(Graph.STEP)) Graph.STEP else Graph.SEQUENCE)
        .filterNot { it.isState() || it.isLengths() }
        .map { zeros(*shapeOf(it), dtype = it.dtype(), name = it.name()) }
        .toTypedArray()

/** Return how many sequences a step has: those of a constant batch, otherwise 1. */
private fun batchOf(model: Model): Long =
    model.inputs(if (model.hasGraph(Graph.STEP)) Graph.STEP else Graph.SEQUENCE)
        .filter { "batch" in it.axes() }
        .map { maxOf(it.shape()[it.axes().indexOf("batch")], 1) }
        .firstOrNull() ?: 1

private fun shapeOf(port: Port): LongArray =
    port.shape().zip(port.axes())
        .filter { (_, axis) -> axis != "sequence" }
        .map { (size, _) -> maxOf(size, 1) } // -1 where it varies
        .toLongArray()

private fun answerLines(stream: Stream, inputs: Array<Tensor>) {
    generateSequence(::readLine).forEachIndexed { number, line ->
        if (line.isBlank()) {
            stream.reset()
            println()
        } else try {
            read(line, inputs)
            println(stream.step(*inputs).flatMap(::elements).joinToString(","))
        } catch (error: RuntimeException) { // a number that is none, or what the model refuses
            exit("line ${number + 1}: ${error.message}")
        }
    }
}

/** Read the numbers of a line into the inputs, one after another. */
private fun read(line: String, inputs: Array<Tensor>) {
    val words = line.trim().split(Regex("\\s*[,\\s]\\s*"))
    var next = 0
    for (input in inputs) {
        repeat(input.data().capacity() / input.dtype().width()) { place ->
            require(next < words.size) { "there are ${words.size} numbers, too few for $input" }
            put(input, place, words[next++])
        }
    }
    require(next == words.size) { "there are ${words.size} numbers, but a step takes $next" }
}

private fun put(input: Tensor, place: Int, word: String) {
    fun <T : Any> known(number: T?): T =
        requireNotNull(number) { "`$word` is not a finite ${input.dtype()}" }
    when (input.dtype()) {
        DType.FLOAT32 -> input[place] = known(word.toFloatOrNull()?.takeIf { it.isFinite() })
        DType.FLOAT64 ->
            input.doubles().put(place, known(word.toDoubleOrNull()?.takeIf { it.isFinite() }))
        DType.INT64 -> input.longs().put(place, known(word.toLongOrNull()))
        DType.INT32 -> input.ints().put(place, known(word.toIntOrNull()))
        DType.BOOL -> input.data().put(place, known(word.toByteOrNull()))
        else -> throw IllegalArgumentException("this program reads no ${input.dtype()}")
    }
}

/** Return the elements of an output as text, empty where they are not defined. */
private fun elements(output: Tensor): List<String> =
    List(output.shape().fold(1L, Long::times).toInt()) { place ->
        if (output.isDefined) element(output, place).toString() else ""
    }

private fun element(output: Tensor, place: Int): Any =
    when (output.dtype()) {
        DType.FLOAT32 -> output[place]
        DType.FLOAT64 -> output.doubles()[place]
        DType.INT64 -> output.longs()[place]
        DType.INT32 -> output.ints()[place]
        DType.BOOL -> output.data()[place]
        else -> throw IllegalArgumentException("this program writes no ${output.dtype()}")
    }
