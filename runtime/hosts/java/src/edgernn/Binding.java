package edgernn;

import java.nio.ByteBuffer;

/**
 * The functions of edgernn.h, one method each, with every pointer as a long.
 *
 * <p>Two classes implement it: {@link JniBinding} for every Java, and ForeignBinding, which needs
 * Java 22 or later. Whatever is more than a call is written once, above this interface. Methods
 * that return int return an edgernn_status; `error` points to an edgernn_error.
 */
interface Binding {
    /** The calls of a stream that take inputs and give outputs. */
    int STEP = 0, FEED = 1, FINISH = 2, RUN = 3;

    /** Return the address of the first byte of a direct buffer, whatever its position is. */
    long address(ByteBuffer memory);

    /** Return a buffer over memory of the core; the order of its bytes is big-endian. */
    ByteBuffer view(long address, long size);

    int open(long path, long options, long model, long error);

    int openMemory(
            long sequence, long sequenceSize, long step, long stepSize, long options, long model,
            long error);

    void close(long model);

    boolean hasGraph(long model, int graph);

    long inputCount(long model, int graph);

    long outputCount(long model, int graph);

    long input(long model, int graph, long place);

    long output(long model, int graph, long place);

    long metadata(long model, long key);

    long hop(long model);

    boolean carries(long model);

    long provider(long model);

    long onnxruntimeVersion(long model);

    long vocabularySize(long model);

    long symbol(long model, long id);

    int encode(long model, long text, long size, long ids, long capacity, long count, long error);

    int decode(long model, long ids, long count, long text, long capacity, long size, long error);

    int check(long model, long golden, long differences, long error);

    int openStream(long model, long batch, long stream, long error);

    void closeStream(long stream);

    /** Make one of the four calls: STEP, FEED, FINISH or RUN. */
    int call(
            int call, long stream, long inputs, long count, long outputs, long outputCount,
            long error);

    void reset(long stream);

    long steps(long stream);

    long rest(long stream);

    long snapshotSize(long stream);

    int snapshot(long stream, long buffer, long size, long error);

    int restore(long stream, long snapshot, long size, long error);

    int state(long stream, long name, long value, long error);

    int setState(long stream, long value, long error);
}
