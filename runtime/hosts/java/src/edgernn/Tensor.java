package edgernn;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;

/**
 * An array outside of Java's heap, in row-major order and the machine's byte order.
 *
 * <p>Make it once, and write its elements before each call: `x.floats().put(0, 0.5f)`. A tensor
 * that a stream returned is filled again by the next call of that stream; {@link #copy} keeps it.
 */
public final class Tensor {
    private final String name;
    private final DType dtype;
    private final long[] shape;
    private final ByteBuffer data; // null where it is not defined
    private final FloatBuffer floats;
    private final DoubleBuffer doubles;
    private final LongBuffer longs;
    private final IntBuffer ints;
    private Place place; // null before the first call

    /** Make a tensor over `data`, whose position is 0. */
    Tensor(String name, DType dtype, long[] shape, ByteBuffer data) {
        this.name = name;
        this.dtype = dtype;
        this.shape = shape;
        this.data = data;
        floats = data != null && dtype == DType.FLOAT32 ? data.asFloatBuffer() : null;
        doubles = data != null && dtype == DType.FLOAT64 ? data.asDoubleBuffer() : null;
        longs = data != null && dtype == DType.INT64 ? data.asLongBuffer() : null;
        ints = data != null && dtype == DType.INT32 ? data.asIntBuffer() : null;
    }

    /** Return a tensor of zeros. */
    public static Tensor of(DType dtype, long... shape) {
        return new Tensor(null, dtype, shape.clone(), Native.allocate(byteSize(dtype, shape)));
    }

    /** Return a float32 tensor of these elements. */
    public static Tensor of(float[] elements, long... shape) {
        Tensor made = sized(DType.FLOAT32, shape, elements.length);
        made.floats.duplicate().put(elements);
        return made;
    }

    /** Return a float64 tensor of these elements. */
    public static Tensor of(double[] elements, long... shape) {
        Tensor made = sized(DType.FLOAT64, shape, elements.length);
        made.doubles.duplicate().put(elements);
        return made;
    }

    /** Return an int64 tensor of these elements, as the ids of symbols are. */
    public static Tensor of(long[] elements, long... shape) {
        Tensor made = sized(DType.INT64, shape, elements.length);
        made.longs.duplicate().put(elements);
        return made;
    }

    private static Tensor sized(DType dtype, long[] shape, int count) {
        check(count * (long) dtype.width(), dtype, shape);
        return of(dtype, shape);
    }

    /**
     * Return a tensor over a direct buffer, from its position to its limit, without a copy.
     *
     * @throws EdgernnException INPUT: it is not direct, has another size or byte order, or its
     *     elements are not aligned
     */
    public static Tensor wrap(DType dtype, ByteBuffer data, long... shape) {
        if (!data.isDirect() || data.isReadOnly() || data.order() != ByteOrder.nativeOrder()) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "A tensor needs a direct buffer in the machine's byte order that can be "
                            + "written. Make it with ByteBuffer.allocateDirect(size)"
                            + ".order(ByteOrder.nativeOrder()).");
        }
        check(data.remaining(), dtype, shape);
        ByteBuffer elements = data.slice().order(ByteOrder.nativeOrder());
        if (Native.address(elements) % dtype.width() != 0) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "The buffer starts at position " + data.position() + ", where no " + dtype
                            + " can be. Start at a multiple of " + dtype.width() + " bytes.");
        }
        return new Tensor(null, dtype, shape.clone(), elements);
    }

    private static void check(long size, DType dtype, long[] shape) {
        if (size != byteSize(dtype, shape)) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "A tensor " + dtype + " " + text(shape) + " has " + byteSize(dtype, shape)
                            + " bytes, but " + size + " came. Give as many elements as the shape "
                            + "has.");
        }
    }

    static long byteSize(DType dtype, long[] shape) {
        long bytes = dtype.width();
        for (long size : shape) {
            if (size < 0 || size != 0 && bytes > Long.MAX_VALUE / size) {
                throw new EdgernnException(
                        EdgernnException.Kind.INPUT,
                        "No tensor has the shape " + text(shape) + ". Give each axis its number of "
                                + "elements.");
            }
            bytes *= size;
        }
        return bytes;
    }

    /** Return a shape as messages have it: `(2, 3)`, `(2,)`, `()`. */
    static String text(long[] shape) {
        String sizes = Arrays.toString(shape);
        return "(" + sizes.substring(1, sizes.length() - 1) + (shape.length == 1 ? ",)" : ")");
    }

    /** Return a tensor of this name over the same memory, for a model with several inputs. */
    public Tensor named(String name) {
        return new Tensor(name, dtype, shape, data);
    }

    /** Return the name of the port; null where none was given. */
    public String name() {
        return name;
    }

    /** Return the type of the elements. */
    public DType dtype() {
        return dtype;
    }

    /** Return a copy of the sizes of the axes. */
    public long[] shape() {
        return shape.clone();
    }

    /** Return the size of an axis. */
    public long size(int axis) {
        return shape[axis];
    }

    /** Return whether there are elements: an output with a delay has none in its first steps. */
    public boolean isDefined() {
        return data != null;
    }

    /** Return the elements as bytes: the memory itself, always the same buffer. */
    public ByteBuffer data() {
        if (data == null) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "Output `" + name + "` is not defined yet, because of its delay. Ask "
                            + "isDefined() first.");
        }
        return data;
    }

    /** Return the elements of a float32 tensor: the memory itself, always the same buffer. */
    public FloatBuffer floats() {
        return known(floats, "floats()");
    }

    /** Return the elements of a float64 tensor: the memory itself, always the same buffer. */
    public DoubleBuffer doubles() {
        return known(doubles, "doubles()");
    }

    /** Return the elements of an int64 tensor: the memory itself, always the same buffer. */
    public LongBuffer longs() {
        return known(longs, "longs()");
    }

    /** Return the elements of an int32 tensor: the memory itself, always the same buffer. */
    public IntBuffer ints() {
        return known(ints, "ints()");
    }

    private <B> B known(B buffer, String call) {
        data();
        if (buffer == null) {
            throw new EdgernnException(
                    EdgernnException.Kind.INPUT,
                    "Tensor" + (name == null ? "" : " `" + name + "`") + " is " + dtype + ", which "
                            + call + " does not read. Take the method of its dtype, or data().");
        }
        return buffer;
    }

    /** Return the elements of a float32 tensor in a new array. */
    public float[] toFloats() {
        FloatBuffer elements = floats().duplicate();
        elements.clear();
        float[] array = new float[elements.remaining()];
        elements.get(array);
        return array;
    }

    /** Return an independent tensor of the same name, shape and elements. */
    public Tensor copy() {
        return new Tensor(name, dtype, shape, data == null ? null : copyOf(data));
    }

    private static ByteBuffer copyOf(ByteBuffer data) {
        ByteBuffer source = data.duplicate();
        source.clear();
        ByteBuffer copied = Native.allocate(source.remaining());
        copied.put(source).flip();
        return copied;
    }

    /** Return `float32 (1, 10)`, with the name where there is one. */
    @Override
    public String toString() {
        return (name == null ? "" : name + " ") + dtype + " " + text(shape);
    }

    long byteSize() {
        return data.capacity();
    }

    boolean isLike(DType dtype, ByteBuffer shape, int rank, boolean defined) {
        if (this.dtype != dtype || this.shape.length != rank || defined != (data != null)) {
            return false;
        }
        for (int axis = 0; axis < rank; axis++) {
            if (shape.getLong(8 * axis) != this.shape[axis]) {
                return false;
            }
        }
        return true;
    }

    /** Write this tensor as an edgernn_tensor, which needs it to stay reachable. */
    void write(ByteBuffer memory, int at) {
        Place found = place;
        if (found == null) {
            found = new Place(this);
            place = found;
        }
        memory.putLong(at, found.nameAddress);
        memory.putInt(at + 8, dtype.number);
        memory.putLong(at + 16, shape.length);
        memory.putLong(at + 24, found.shapeAddress);
        memory.putLong(at + 32, found.dataAddress);
    }

    /** The parts of a tensor in native memory. */
    private static final class Place {
        private final ByteBuffer shape;
        private final ByteBuffer name;
        private final long shapeAddress;
        private final long nameAddress;
        private final long dataAddress;

        Place(Tensor tensor) {
            shape = Native.allocate(8L * tensor.shape.length);
            for (long size : tensor.shape) {
                shape.putLong(size);
            }
            name = Native.name(tensor.name);
            shapeAddress = Native.address(shape);
            nameAddress = Native.address(name);
            dataAddress = Native.address(tensor.data());
        }
    }
}
