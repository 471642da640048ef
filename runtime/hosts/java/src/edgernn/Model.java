package edgernn;

import static edgernn.Native.ERROR_SIZE;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;

/**
 * An artifact of edgernn: a recurrent model whose states {@link Stream}s keep.
 *
 * <pre>{@code
 * try (Model model = Model.open(Path.of("model.edgernn")); Stream stream = model.stream()) {
 *     Tensor x = Tensor.of(DType.FLOAT32, 1, 10);
 *     x.floats().put(0, 0.5f);
 *     float y = stream.step(x).get(0).floats().get(0);
 * }
 * }</pre>
 *
 * <p>A model is immutable; any number of threads may use it. Close it, before or after its streams;
 * one that is garbage is closed as well, at some time.
 */
public final class Model implements AutoCloseable {
    private static final int RESULT = ERROR_SIZE; // after the error in the memory of a call

    private final Binding binding = Native.binding();
    private final ReadWriteLock lock = new ReentrantReadWriteLock(); // written by close alone
    private final Map<Graph, List<Port>> inputs = new EnumMap<>(Graph.class);
    private final Map<Graph, List<Port>> outputs = new EnumMap<>(Graph.class);
    private final Runnable release;
    private long model; // 0 after close

    private Model(long model) {
        this.model = model;
        release = Native.release(this, model, binding::close);
        for (Graph graph : Graph.values()) {
            int number = graph.ordinal();
            if (binding.hasGraph(model, number)) {
                List<Port> found = new ArrayList<>();
                for (long i = 0; i < binding.inputCount(model, number); i++) {
                    found.add(port(binding.input(model, number, i)));
                }
                inputs.put(graph, List.copyOf(found));
                found.clear();
                for (long i = 0; i < binding.outputCount(model, number); i++) {
                    found.add(port(binding.output(model, number, i)));
                }
                outputs.put(graph, List.copyOf(found));
            }
        }
    }

    /** Open an artifact's folder, or one of its graphs, on the CPU. */
    public static Model open(Path path) {
        return open(path, new Options());
    }

    /**
     * Open an artifact's folder, or one of its graphs, an .onnx file.
     *
     * @throws EdgernnException CONTRACT: there is no graph, one has no contract or another version
     *     of it, or the two are not of one family; PROVIDER; MEMORY
     */
    public static Model open(Path path, Options options) {
        ByteBuffer text = Native.name(path.toString());
        return open(options, (given, result, error) ->
                Native.binding().open(Native.address(text), given, result, error));
    }

    /** Open graphs that are in memory, on the CPU; either may be null. */
    public static Model openMemory(ByteBuffer sequence, ByteBuffer step) {
        return openMemory(sequence, step, new Options());
    }

    /**
     * Open graphs that are in memory, from the position of a buffer to its limit; either may be
     * null. The buffers may be used again afterwards.
     *
     * @throws EdgernnException as {@link #open(Path, Options)}
     */
    public static Model openMemory(ByteBuffer sequence, ByteBuffer step, Options options) {
        ByteBuffer first = direct(sequence);
        ByteBuffer second = direct(step);
        return open(options, (given, result, error) ->
                Native.binding().openMemory(
                        Native.address(first), first == null ? 0 : first.capacity(),
                        Native.address(second), second == null ? 0 : second.capacity(), given,
                        result, error));
    }

    private static ByteBuffer direct(ByteBuffer graph) {
        if (graph == null || graph.isDirect()) {
            return graph == null ? null : graph.slice();
        }
        ByteBuffer copied = Native.allocate(graph.remaining());
        copied.put(graph.duplicate());
        return copied;
    }

    private interface Opening {
        int open(long options, long result, long error);
    }

    private static Model open(Options options, Opening opening) {
        ByteBuffer library = Native.name(options.library);
        ByteBuffer provider = Native.name(options.provider);
        ByteBuffer given = Native.allocate(Native.OPTIONS_SIZE);
        given.putLong(0, Native.address(library));
        given.putLong(16, Native.address(provider));
        given.putInt(24, options.threads);
        ByteBuffer memory = Native.allocate(RESULT + 8);
        long address = Native.address(memory);
        int status = opening.open(Native.address(given), address + RESULT, address);
        Native.check(status, memory);
        Reference.reachabilityFence(given);
        Reference.reachabilityFence(library);
        Reference.reachabilityFence(provider);
        Reference.reachabilityFence(opening); // and the memory that it has captured
        return new Model(memory.getLong(RESULT));
    }

    private static Port port(long address) {
        ByteBuffer memory = Native.view(address, Native.PORT_SIZE);
        int rank = (int) memory.getLong(16);
        List<Long> shape = new ArrayList<>();
        List<String> axes = new ArrayList<>();
        for (int axis = 0; axis < rank; axis++) {
            shape.add(Native.view(memory.getLong(24) + 8L * axis, 8).getLong(0));
            long name = Native.view(memory.getLong(32) + 8L * axis, 8).getLong(0);
            axes.add(Native.string(name));
        }
        return new Port(
                Native.string(memory.getLong(0)), DType.of(memory.getInt(8)), List.copyOf(shape),
                List.copyOf(axes), memory.getLong(40), memory.getLong(48), memory.getLong(56),
                memory.get(64) != 0, memory.get(65) != 0);
    }

    /** Make a call while the model cannot be closed. */
    private <T> T whileOpen(Supplier<T> call) {
        lock.readLock().lock();
        try {
            if (model == 0) {
                throw new IllegalStateException(
                        "The model is closed. Open it again with Model.open(path).");
            }
            return call.get();
        } finally {
            lock.readLock().unlock();
            Reference.reachabilityFence(this);
            Reference.reachabilityFence(call); // and the memory that it has captured
        }
    }

    /** Return whether the model has such a graph. */
    public boolean hasGraph(Graph graph) {
        return inputs.containsKey(graph);
    }

    /** Return the inputs of a graph in its order, states included; none without the graph. */
    public List<Port> inputs(Graph graph) {
        return inputs.getOrDefault(graph, List.of());
    }

    /** Return the outputs of a graph in its order, states included; none without the graph. */
    public List<Port> outputs(Graph graph) {
        return outputs.getOrDefault(graph, List.of());
    }

    /** Return the entry `edgernn.KEY` of the graphs' metadata, as `sample_rate` or `source`. */
    public Optional<String> metadata(String key) {
        ByteBuffer text = Native.name(Objects.requireNonNull(key));
        return Optional.ofNullable(
                whileOpen(() -> Native.string(binding.metadata(model, Native.address(text)))));
    }

    /** Return the steps of the input that {@link Stream#step} takes; 1 for most models. */
    public long hop() {
        return whileOpen(() -> binding.hop(model));
    }

    /** Return whether a state goes from chunk to chunk; else only {@link Stream#run} runs it. */
    public boolean carries() {
        return whileOpen(() -> binding.carries(model));
    }

    /** Return the provider that runs the nodes, as `cpu`. */
    public String provider() {
        return whileOpen(() -> Native.string(binding.provider(model)));
    }

    /** Return the version of ONNX Runtime, as `1.31.1`. */
    public String onnxruntimeVersion() {
        return whileOpen(() -> Native.string(binding.onnxruntimeVersion(model)));
    }

    /** Return the number of symbols; 0 where the model has no vocabulary. */
    public long vocabularySize() {
        return whileOpen(() -> binding.vocabularySize(model));
    }

    /** Return the symbol of an id; empty for an id that is not in the vocabulary. */
    public Optional<String> symbol(long id) {
        return Optional.ofNullable(whileOpen(() -> Native.string(binding.symbol(model, id))));
    }

    /**
     * Return the ids of a text, taking the longest symbol that fits at each place.
     *
     * @throws EdgernnException INPUT: there is no vocabulary, or something in the text is not in a
     *     vocabulary without an unknown symbol
     */
    public long[] encode(String text) {
        ByteBuffer bytes = Native.text(text);
        int size = bytes.limit() - 1;
        ByteBuffer memory = Native.allocate(RESULT + 8);
        ByteBuffer ids = Native.allocate(8L * size + 8); // no symbol is empty
        long address = Native.address(memory);
        Native.check(whileOpen(() -> binding.encode(
                model, Native.address(bytes), size, Native.address(ids), size,
                address + RESULT, address)), memory);
        long[] found = new long[(int) memory.getLong(RESULT)];
        ids.asLongBuffer().get(found);
        return found;
    }

    /**
     * Return the text of ids; padding is left out.
     *
     * @throws EdgernnException INPUT: there is no vocabulary, or an id is not in it
     */
    public String decode(long... ids) {
        ByteBuffer numbers = Native.allocate(8L * ids.length);
        numbers.asLongBuffer().put(ids);
        ByteBuffer memory = Native.allocate(RESULT + 8);
        decode(numbers, null, memory);
        ByteBuffer text = Native.allocate(memory.getLong(RESULT) + 1);
        decode(numbers, text, memory);
        text.limit(text.capacity() - 1);
        return StandardCharsets.UTF_8.decode(text).toString();
    }

    private void decode(ByteBuffer ids, ByteBuffer text, ByteBuffer memory) {
        long address = Native.address(memory);
        Native.check(whileOpen(() -> binding.decode(
                model, Native.address(ids), ids.capacity() / 8, Native.address(text),
                text == null ? 0 : text.capacity(), address + RESULT, address)), memory);
    }

    /** Replay the golden run of the artifact that was opened. */
    public Differences check() {
        return check(null);
    }

    /**
     * Replay a golden run: whole, by chunks, by steps, and as a control without the state.
     *
     * @param golden the folder of the recorded arrays; null for that of the artifact
     */
    public Differences check(Path golden) {
        ByteBuffer folder = Native.name(golden == null ? null : golden.toString());
        ByteBuffer memory = Native.allocate(RESULT + 32);
        long address = Native.address(memory);
        Native.check(whileOpen(() -> binding.check(
                model, Native.address(folder), address + RESULT, address)), memory);
        return new Differences(
                memory.getDouble(RESULT), memory.getDouble(RESULT + 8),
                memory.getDouble(RESULT + 16), memory.getDouble(RESULT + 24));
    }

    /** Open a stream of one sequence, at the initial state. */
    public Stream stream() {
        return stream(1);
    }

    /**
     * Open a stream of `batch` sequences side by side, at the initial state.
     *
     * @throws EdgernnException INPUT: batch is 0, or not the constant batch of the model; MEMORY
     */
    public Stream stream(long batch) {
        if (batch < 0) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "`batch` is " + batch + "; a stream runs at least 1 sequence. Give 1 or more.");
        }
        ByteBuffer memory = Native.allocate(RESULT + 8);
        long address = Native.address(memory);
        Native.check(whileOpen(() -> binding.openStream(
                model, batch, address + RESULT, address)), memory);
        Graph graph = hasGraph(Graph.STEP) ? Graph.STEP : Graph.SEQUENCE;
        return new Stream(memory.getLong(RESULT), outputs(graph));
    }

    /** Close the model; open streams go on. */
    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            model = 0;
            release.run();
        } finally {
            lock.writeLock().unlock();
        }
    }
}
