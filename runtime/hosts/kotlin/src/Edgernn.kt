/** The Java wrapper of edgernn in Kotlin's words; README.md says how both are added to an app. */
@file:JvmName("Edgernn")

package edgernn

import java.nio.ByteBuffer
import java.nio.file.Path

/**
 * Open an artifact's folder, or one of its graphs, an .onnx file.
 *
 * @param provider `cpu`, or another with its options, as `cuda:device_id=1`
 * @param threads how many run one call
 * @param library the path of ONNX Runtime's shared library; null to look where [Options] says
 * @throws EdgernnException as [Model.open]
 */
fun openModel(
    path: Path,
    provider: String = "cpu",
    threads: Int = 1,
    library: Path? = null
): Model = Model.open(path, optionsOf(provider, threads, library))

/**
 * Open graphs that are in memory, as an app has its assets; either may be left out.
 *
 * @throws EdgernnException as [Model.openMemory]
 */
fun openModel(
    sequence: ByteArray? = null,
    step: ByteArray? = null,
    provider: String = "cpu",
    threads: Int = 1,
    library: Path? = null
): Model = Model.openMemory(
    sequence?.let(ByteBuffer::wrap),
    step?.let(ByteBuffer::wrap),
    optionsOf(provider, threads, library)
)

private fun optionsOf(provider: String, threads: Int, library: Path?): Options {
    val options = Options().provider(provider).threads(threads)
    return if (library == null) options else options.library(library)
}

/** Return the entry `edgernn.KEY` of the metadata; null without it. */
operator fun Model.get(key: String): String? = metadata(key).orElse(null)

/** Run [block] with a stream of `batch` sequences, and close the stream. */
inline fun <T> Model.stream(batch: Long = 1, block: (Stream) -> T): T = stream(batch).use(block)

/** Return a float32 tensor of zeros, of [dtype] otherwise, for the input [name]. */
fun zeros(vararg shape: Long, dtype: DType = DType.FLOAT32, name: String? = null): Tensor =
    Tensor.of(dtype, *shape).let { if (name == null) it else it.named(name) }

/** Return a float32 tensor of these elements, by default one row of them. */
fun FloatArray.toTensor(vararg shape: Long = longArrayOf(1, size.toLong())): Tensor =
    Tensor.of(this, *shape)

/** Return an int64 tensor of these ids, by default one for each sequence of a batch. */
fun LongArray.toTensor(vararg shape: Long = longArrayOf(size.toLong())): Tensor =
    Tensor.of(this, *shape)

/** Read or write an element of a float32 tensor by its place in row-major order. */
operator fun Tensor.get(place: Int): Float = floats().get(place)

operator fun Tensor.set(place: Int, element: Float) {
    floats().put(place, element)
}

/** Return an output by its name. */
operator fun List<Tensor>.get(name: String): Tensor = first { it.name() == name }

/** Return a copy of a state by the name of its input, as `h_in`. */
operator fun Stream.get(name: String): Tensor = state(name)

/** Set a state by the name of its input. */
operator fun Stream.set(name: String, value: Tensor) = setState(value.named(name))
