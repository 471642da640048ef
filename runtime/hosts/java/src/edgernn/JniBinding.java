package edgernn;

import java.nio.ByteBuffer;

/** The core through JNI: native/edgernn_jni.c has the other side. */
final class JniBinding implements Binding {
    @Override
    public native long address(ByteBuffer memory);

    @Override
    public native ByteBuffer view(long address, long size);

    @Override
    public native int open(long path, long options, long model, long error);

    @Override
    public native int openMemory(
            long sequence, long sequenceSize, long step, long stepSize, long options, long model,
            long error);

    @Override
    public native void close(long model);

    @Override
    public native boolean hasGraph(long model, int graph);

    @Override
    public native long inputCount(long model, int graph);

    @Override
    public native long outputCount(long model, int graph);

    @Override
    public native long input(long model, int graph, long place);

    @Override
    public native long output(long model, int graph, long place);

    @Override
    public native long metadata(long model, long key);

    @Override
    public native long hop(long model);

    @Override
    public native boolean carries(long model);

    @Override
    public native long provider(long model);

    @Override
    public native long onnxruntimeVersion(long model);

    @Override
    public native long vocabularySize(long model);

    @Override
    public native long symbol(long model, long id);

    @Override
    public native int encode(
            long model, long text, long size, long ids, long capacity, long count, long error);

    @Override
    public native int decode(
            long model, long ids, long count, long text, long capacity, long size, long error);

    @Override
    public native int check(long model, long golden, long differences, long error);

    @Override
    public native int openStream(long model, long batch, long stream, long error);

    @Override
    public native void closeStream(long stream);

    @Override
    public native int call(
            int call, long stream, long inputs, long count, long outputs, long outputCount,
            long error);

    @Override
    public native void reset(long stream);

    @Override
    public native long steps(long stream);

    @Override
    public native long rest(long stream);

    @Override
    public native long snapshotSize(long stream);

    @Override
    public native int snapshot(long stream, long buffer, long size, long error);

    @Override
    public native int restore(long stream, long snapshot, long size, long error);

    @Override
    public native int state(long stream, long name, long value, long error);

    @Override
    public native int setState(long stream, long value, long error);
}
