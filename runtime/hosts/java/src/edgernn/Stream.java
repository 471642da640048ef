package edgernn;

import static edgernn.Native.ERROR_SIZE;
import static edgernn.Native.TENSOR_SIZE;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Objects;

/**
 * One running state for a batch of sequences; made by {@link Model#stream}.
 *
 * <p>A call that fails changes nothing. The outputs are in the order of the graph, and valid until
 * the next call of this stream, which fills the same tensors again. A stream belongs to one thread
 * at a time; streams of one model run in parallel. Close it; one that is garbage is closed as well,
 * at some time.
 */
public final class Stream implements AutoCloseable {
    private static final int OUTPUTS = ERROR_SIZE, COUNT = OUTPUTS + 8, INPUTS = COUNT + 8;

    private final Binding binding = Native.binding();
    private final Outputs outputs;
    private final Runnable release;
    private long stream; // 0 after close
    private ByteBuffer frame; // an error, where the outputs are, their number, and the inputs
    private long frameAddress;

    Stream(long stream, List<Port> outputs) {
        this.stream = stream;
        this.outputs = new Outputs(outputs);
        release = Native.release(this, stream, binding::closeStream);
        makeFrame(1);
    }

    private void makeFrame(int inputs) {
        frame = Native.allocate(INPUTS + (long) TENSOR_SIZE * inputs);
        frameAddress = binding.address(frame);
    }

    /**
     * Run one step, or one hop where the model takes several steps at a time.
     *
     * @param input the data input with the shape of the step graph's port: (batch, input_size) of
     *     float32, ids (batch) of int64, (batch, hop) where there are hops
     * @return the data outputs; at the start of a sequence, those with an axis of steps come
     *     without the steps that are not defined, and others are not defined until they are
     * @throws EdgernnException INPUT: the input has another name, dtype or shape than its port, or
     *     an id is not one; steps are kept that do not fill a hop; the sequence has ended or has no
     *     positions left; the model has no step. PROVIDER: ONNX Runtime failed
     */
    public synchronized List<Tensor> step(Tensor input) {
        return call(Binding.STEP, input);
    }

    /** Run one step of a model with several inputs, in any order, each with its name. */
    public synchronized List<Tensor> step(Tensor... inputs) {
        return call(Binding.STEP, inputs);
    }

    /**
     * Run a chunk of any number of steps, exactly as the same steps one by one.
     *
     * @param input the data input as the sequence graph's port says: (batch, steps, input_size), or
     *     with the axes in the model's own order. Steps that do not fill a hop are kept for the
     *     next chunk ({@link #rest})
     * @return the data outputs as those of {@link #step}, with the shapes of the sequence graph;
     *     without steps where no hop is complete
     * @throws EdgernnException as {@link #step}
     */
    public synchronized List<Tensor> feed(Tensor input) {
        return call(Binding.FEED, input);
    }

    /** Run a chunk of a model with several inputs, in any order, each with its name. */
    public synchronized List<Tensor> feed(Tensor... inputs) {
        return call(Binding.FEED, inputs);
    }

    /**
     * End the sequence and return the steps of outputs that come only then ({@link Port#tail}).
     *
     * <p>The stream then takes no more steps before {@link #reset} or {@link #restore}.
     *
     * @param inputs the data inputs that have no axis of steps, none in most models
     * @throws EdgernnException as {@link #step}
     */
    public synchronized List<Tensor> finish(Tensor... inputs) {
        return call(Binding.FINISH, inputs);
    }

    /**
     * Run whole sequences from the initial state, as the model itself would; any model can be run
     * so. The stream is at its initial state afterwards.
     *
     * @throws EdgernnException as {@link #step}
     */
    public synchronized List<Tensor> run(Tensor... inputs) {
        return call(Binding.RUN, inputs);
    }

    private List<Tensor> call(int way, Tensor input) {
        checkOpen();
        input.write(frame, INPUTS);
        try {
            return call(way, 1);
        } finally {
            Reference.reachabilityFence(input);
        }
    }

    private List<Tensor> call(int way, Tensor[] inputs) {
        checkOpen();
        if (frame.capacity() < INPUTS + TENSOR_SIZE * inputs.length) {
            makeFrame(inputs.length);
        }
        for (int place = 0; place < inputs.length; place++) {
            inputs[place].write(frame, INPUTS + TENSOR_SIZE * place);
        }
        try {
            return call(way, inputs.length);
        } finally {
            Reference.reachabilityFence(inputs);
        }
    }

    private List<Tensor> call(int way, int count) {
        int status = binding.call(
                way, stream, frameAddress + INPUTS, count, frameAddress + OUTPUTS,
                frameAddress + COUNT, frameAddress);
        Native.check(status, frame);
        return outputs.read(frame.getLong(OUTPUTS));
    }

    /** Return to the initial state; steps that are kept for a hop are dropped. */
    public synchronized void reset() {
        checkOpen();
        binding.reset(stream);
    }

    /** Return the steps that were run since the stream was opened or reset. */
    public synchronized long steps() {
        checkOpen();
        return binding.steps(stream);
    }

    /** Return the steps that are kept until they fill a hop. */
    public synchronized long rest() {
        checkOpen();
        return binding.rest(stream);
    }

    /**
     * Return all that a stream needs to go on from here. It may be stored; it fits machines of the
     * same byte order.
     */
    public synchronized byte[] snapshot() {
        checkOpen();
        ByteBuffer memory = Native.allocate(binding.snapshotSize(stream));
        int status = binding.snapshot(
                stream, Native.address(memory), memory.capacity(), frameAddress);
        Native.check(status, frame);
        byte[] snapshot = new byte[memory.capacity()];
        memory.get(snapshot);
        return snapshot;
    }

    /**
     * Continue from a snapshot of a stream of the same artifact and batch.
     *
     * @throws EdgernnException STATE: it is damaged, or of another artifact or batch
     */
    public synchronized void restore(byte[] snapshot) {
        checkOpen();
        ByteBuffer memory = Native.allocate(snapshot.length);
        memory.put(snapshot);
        int status = binding.restore(
                stream, Native.address(memory), snapshot.length, frameAddress);
        Native.check(status, frame);
        Reference.reachabilityFence(memory);
    }

    /**
     * Return a copy of the current value of a state, by the name of its input, as `h_in`.
     *
     * @throws EdgernnException STATE: there is no such state
     */
    public synchronized Tensor state(String name) {
        checkOpen();
        ByteBuffer text = Native.name(Objects.requireNonNull(name));
        int status = binding.state(
                stream, Native.address(text), frameAddress + OUTPUTS, frameAddress);
        Native.check(status, frame);
        Reference.reachabilityFence(text);
        return Outputs.copy(name, frame.getLong(OUTPUTS));
    }

    /**
     * Set a state; the name of the tensor is that of the state's input.
     *
     * @throws EdgernnException STATE: the name, dtype, shape or a value is not the state's
     */
    public synchronized void setState(Tensor value) {
        checkOpen();
        value.write(frame, INPUTS);
        Native.check(binding.setState(stream, frameAddress + INPUTS, frameAddress), frame);
        Reference.reachabilityFence(value);
    }

    /** Close the stream and free what it holds; its outputs stay as they are. */
    @Override
    public synchronized void close() {
        stream = 0;
        release.run();
    }

    private void checkOpen() {
        if (stream == 0) {
            throw new IllegalStateException(
                    "The stream is closed. Open another with model.stream(batch).");
        }
    }
}
