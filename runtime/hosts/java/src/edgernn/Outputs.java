package edgernn;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * The outputs of a stream in memory of Java, so that they outlive it; used again by every call.
 *
 * <p>A call that gives the same shapes as the one before makes no object.
 */
final class Outputs {
    private final String[] names;
    private final Tensor[] tensors;
    private final ByteBuffer[] memories; // of the tensors, also while they are not defined
    private final View[] shapes;
    private final View[] elements;
    private final View table = new View();
    private List<Tensor> list = Collections.emptyList();

    Outputs(List<Port> ports) {
        names = ports.stream().filter(port -> !port.isState()).map(Port::name)
                .toArray(String[]::new);
        tensors = new Tensor[names.length];
        memories = new ByteBuffer[names.length];
        shapes = new View[names.length];
        elements = new View[names.length];
        Arrays.setAll(shapes, place -> new View());
        Arrays.setAll(elements, place -> new View());
    }

    /** Copy the outputs of a call from an array of edgernn_tensor, one for each data output. */
    List<Tensor> read(long address) {
        ByteBuffer memory = table.of(address, (long) Native.TENSOR_SIZE * names.length);
        boolean changed = false;
        for (int place = 0; place < names.length; place++) {
            changed |= readOne(memory, Native.TENSOR_SIZE * place, place);
        }
        if (changed) {
            list = List.of(tensors);
        }
        return list;
    }

    /** Copy one output, and return whether its tensor is another than before. */
    private boolean readOne(ByteBuffer memory, int at, int place) {
        DType dtype = DType.of(memory.getInt(at + 8));
        int rank = (int) memory.getLong(at + 16);
        ByteBuffer shape = rank == 0 ? null : shapes[place].of(memory.getLong(at + 24), 8L * rank);
        long data = memory.getLong(at + 32);
        Tensor tensor = tensors[place];
        boolean changed = tensor == null || !tensor.isLike(dtype, shape, rank, data != 0);
        if (changed) {
            tensor = make(place, dtype, sizes(shape, rank), data != 0);
            tensors[place] = tensor;
        }
        if (data != 0) {
            ByteBuffer target = memories[place];
            target.clear().limit((int) tensor.byteSize());
            target.put(elements[place].of(data, target.limit()));
        }
        return changed;
    }

    /** Return a tensor of another shape, over the memory of the one before where that is enough. */
    private Tensor make(int place, DType dtype, long[] shape, boolean defined) {
        if (!defined) {
            return new Tensor(names[place], dtype, shape, null);
        }
        long size = Tensor.byteSize(dtype, shape);
        if (memories[place] == null || memories[place].capacity() < size) {
            memories[place] = Native.allocate(size);
        }
        return new Tensor(names[place], dtype, shape, Native.part(memories[place], (int) size));
    }

    /** Return a tensor in new memory from one edgernn_tensor. */
    static Tensor copy(String name, long address) {
        ByteBuffer memory = Native.view(address, Native.TENSOR_SIZE);
        DType dtype = DType.of(memory.getInt(8));
        int rank = (int) memory.getLong(16);
        ByteBuffer shape = rank == 0 ? null : Native.view(memory.getLong(24), 8L * rank);
        long[] sizes = sizes(shape, rank);
        ByteBuffer data = Native.allocate(Tensor.byteSize(dtype, sizes));
        data.put(Native.view(memory.getLong(32), data.capacity())).flip();
        return new Tensor(name, dtype, sizes, data);
    }

    private static long[] sizes(ByteBuffer shape, int rank) {
        long[] sizes = new long[rank];
        Arrays.setAll(sizes, axis -> shape.getLong(8 * axis));
        return sizes;
    }

    /** Buffers over the two places in the core that calls use in turn, made where it has others. */
    private static final class View {
        private ByteBuffer buffer;
        private ByteBuffer before;
        private long address;
        private long addressBefore;

        ByteBuffer of(long address, long size) {
            if (this.address != address || buffer.capacity() != size) {
                ByteBuffer other = before;
                boolean known = addressBefore == address && other.capacity() == size;
                before = buffer;
                addressBefore = this.address;
                buffer = known ? other : Native.view(address, size);
                this.address = address;
            }
            buffer.clear();
            return buffer;
        }
    }
}
