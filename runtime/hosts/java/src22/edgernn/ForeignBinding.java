package edgernn;

import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.ByteBuffer;

/** The core through Java's foreign functions, of Java 22 and later; it needs no other C code. */
@SuppressWarnings("restricted")
final class ForeignBinding implements Binding {
    private static final MemoryLayout INT = JAVA_INT, LONG = JAVA_LONG; // of enums and of the rest

    private static final MethodHandle
            OPEN = status("open", LONG, LONG, LONG, LONG),
            OPEN_MEMORY = status("open_memory", LONG, LONG, LONG, LONG, LONG, LONG, LONG),
            CLOSE = action("close"),
            HAS_GRAPH = find("has_graph", FunctionDescriptor.of(JAVA_BOOLEAN, LONG, INT)),
            INPUT_COUNT = number("input_count", LONG, INT),
            OUTPUT_COUNT = number("output_count", LONG, INT),
            INPUT = number("input", LONG, INT, LONG),
            OUTPUT = number("output", LONG, INT, LONG),
            METADATA = number("metadata", LONG, LONG),
            HOP = number("hop", LONG),
            CARRIES = find("carries", FunctionDescriptor.of(JAVA_BOOLEAN, LONG)),
            PROVIDER = number("provider", LONG),
            ONNXRUNTIME_VERSION = number("onnxruntime_version", LONG),
            VOCABULARY_SIZE = number("vocabulary_size", LONG),
            SYMBOL = number("symbol", LONG, LONG),
            ENCODE = status("encode", LONG, LONG, LONG, LONG, LONG, LONG, LONG),
            DECODE = status("decode", LONG, LONG, LONG, LONG, LONG, LONG, LONG),
            CHECK = status("check", LONG, LONG, LONG, LONG),
            STREAM_OPEN = status("stream_open", LONG, LONG, LONG, LONG),
            STREAM_CLOSE = action("stream_close"),
            STEP = status("step", LONG, LONG, LONG, LONG, LONG, LONG),
            FEED = status("feed", LONG, LONG, LONG, LONG, LONG, LONG),
            FINISH = status("finish", LONG, LONG, LONG, LONG, LONG, LONG),
            RUN = status("run", LONG, LONG, LONG, LONG, LONG, LONG),
            RESET = action("reset"),
            STEPS = number("steps", LONG),
            REST = number("rest", LONG),
            SNAPSHOT_SIZE = number("snapshot_size", LONG),
            SNAPSHOT = status("snapshot", LONG, LONG, LONG, LONG),
            RESTORE = status("restore", LONG, LONG, LONG, LONG),
            STATE = status("state", LONG, LONG, LONG, LONG),
            SET_STATE = status("set_state", LONG, LONG, LONG);

    private static MethodHandle status(String name, MemoryLayout... arguments) {
        return find(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    private static MethodHandle number(String name, MemoryLayout... arguments) {
        return find(name, FunctionDescriptor.of(JAVA_LONG, arguments));
    }

    private static MethodHandle action(String name) {
        return find(name, FunctionDescriptor.ofVoid(JAVA_LONG));
    }

    /** Return the function `edgernn_NAME` of the library that {@link Native} has loaded. */
    private static MethodHandle find(String name, FunctionDescriptor descriptor) {
        return SymbolLookup.loaderLookup()
                .find("edgernn_" + name)
                .map(function -> Linker.nativeLinker().downcallHandle(function, descriptor))
                .orElseThrow(() -> new UnsatisfiedLinkError("edgernn_" + name));
    }

    /** Return an error that no function of the core gives: it throws nothing. */
    private static IllegalStateException unexpected(Throwable error) {
        return new IllegalStateException("A native call of edgernn failed in Java", error);
    }

    private interface Call<T> {
        T run() throws Throwable;
    }

    private static <T> T run(Call<T> call) {
        try {
            return call.run();
        } catch (Throwable failure) {
            throw unexpected(failure);
        }
    }

    @Override
    public long address(ByteBuffer memory) {
        return MemorySegment.ofBuffer(memory).address() - memory.position();
    }

    @Override
    public ByteBuffer view(long address, long size) {
        return MemorySegment.ofAddress(address).reinterpret(size).asByteBuffer();
    }

    @Override
    public int open(long path, long options, long model, long error) {
        return run(() -> (int) OPEN.invokeExact(path, options, model, error));
    }

    @Override
    public int openMemory(
            long sequence, long sequenceSize, long step, long stepSize, long options, long model,
            long error) {
        return run(() -> (int) OPEN_MEMORY.invokeExact(
                sequence, sequenceSize, step, stepSize, options, model, error));
    }

    @Override
    public void close(long model) {
        run(() -> {
            CLOSE.invokeExact(model);
            return null;
        });
    }

    @Override
    public boolean hasGraph(long model, int graph) {
        return run(() -> (boolean) HAS_GRAPH.invokeExact(model, graph));
    }

    @Override
    public long inputCount(long model, int graph) {
        return run(() -> (long) INPUT_COUNT.invokeExact(model, graph));
    }

    @Override
    public long outputCount(long model, int graph) {
        return run(() -> (long) OUTPUT_COUNT.invokeExact(model, graph));
    }

    @Override
    public long input(long model, int graph, long place) {
        return run(() -> (long) INPUT.invokeExact(model, graph, place));
    }

    @Override
    public long output(long model, int graph, long place) {
        return run(() -> (long) OUTPUT.invokeExact(model, graph, place));
    }

    @Override
    public long metadata(long model, long key) {
        return run(() -> (long) METADATA.invokeExact(model, key));
    }

    @Override
    public long hop(long model) {
        return run(() -> (long) HOP.invokeExact(model));
    }

    @Override
    public boolean carries(long model) {
        return run(() -> (boolean) CARRIES.invokeExact(model));
    }

    @Override
    public long provider(long model) {
        return run(() -> (long) PROVIDER.invokeExact(model));
    }

    @Override
    public long onnxruntimeVersion(long model) {
        return run(() -> (long) ONNXRUNTIME_VERSION.invokeExact(model));
    }

    @Override
    public long vocabularySize(long model) {
        return run(() -> (long) VOCABULARY_SIZE.invokeExact(model));
    }

    @Override
    public long symbol(long model, long id) {
        return run(() -> (long) SYMBOL.invokeExact(model, id));
    }

    @Override
    public int encode(
            long model, long text, long size, long ids, long capacity, long count, long error) {
        return run(() -> (int) ENCODE.invokeExact(model, text, size, ids, capacity, count, error));
    }

    @Override
    public int decode(
            long model, long ids, long count, long text, long capacity, long size, long error) {
        return run(() -> (int) DECODE.invokeExact(model, ids, count, text, capacity, size, error));
    }

    @Override
    public int check(long model, long golden, long differences, long error) {
        return run(() -> (int) CHECK.invokeExact(model, golden, differences, error));
    }

    @Override
    public int openStream(long model, long batch, long stream, long error) {
        return run(() -> (int) STREAM_OPEN.invokeExact(model, batch, stream, error));
    }

    @Override
    public void closeStream(long stream) {
        run(() -> {
            STREAM_CLOSE.invokeExact(stream);
            return null;
        });
    }

    @Override
    public int call(
            int call, long stream, long inputs, long count, long outputs, long outputCount,
            long error) {
        try {
            return switch (call) {
                case Binding.STEP -> (int) STEP.invokeExact(
                        stream, inputs, count, outputs, outputCount, error);
                case Binding.FEED -> (int) FEED.invokeExact(
                        stream, inputs, count, outputs, outputCount, error);
                case Binding.FINISH -> (int) FINISH.invokeExact(
                        stream, inputs, count, outputs, outputCount, error);
                default -> (int) RUN.invokeExact(
                        stream, inputs, count, outputs, outputCount, error);
            };
        } catch (Throwable failure) {
            throw unexpected(failure);
        }
    }

    @Override
    public void reset(long stream) {
        run(() -> {
            RESET.invokeExact(stream);
            return null;
        });
    }

    @Override
    public long steps(long stream) {
        return run(() -> (long) STEPS.invokeExact(stream));
    }

    @Override
    public long rest(long stream) {
        return run(() -> (long) REST.invokeExact(stream));
    }

    @Override
    public long snapshotSize(long stream) {
        return run(() -> (long) SNAPSHOT_SIZE.invokeExact(stream));
    }

    @Override
    public int snapshot(long stream, long buffer, long size, long error) {
        return run(() -> (int) SNAPSHOT.invokeExact(stream, buffer, size, error));
    }

    @Override
    public int restore(long stream, long snapshot, long size, long error) {
        return run(() -> (int) RESTORE.invokeExact(stream, snapshot, size, error));
    }

    @Override
    public int state(long stream, long name, long value, long error) {
        return run(() -> (int) STATE.invokeExact(stream, name, value, error));
    }

    @Override
    public int setState(long stream, long value, long error) {
        return run(() -> (int) SET_STATE.invokeExact(stream, value, error));
    }
}
