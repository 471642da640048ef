package edgernn;

/** The types of elements, with ONNX's numbers. A bool is one byte, 0 or 1. */
public enum DType {
    FLOAT32(1, 4),
    UINT8(2, 1),
    INT8(3, 1),
    UINT16(4, 2),
    INT16(5, 2),
    INT32(6, 4),
    INT64(7, 8),
    BOOL(9, 1),
    FLOAT16(10, 2),
    FLOAT64(11, 8),
    UINT32(12, 4),
    UINT64(13, 8);

    final int number;
    private final int width;

    DType(int number, int width) {
        this.number = number;
        this.width = width;
    }

    /** Return the bytes of one element. */
    public int width() {
        return width;
    }

    /** Return the name in NumPy and in messages, as `float32`. */
    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }

    static DType of(int number) {
        for (DType dtype : values()) {
            if (dtype.number == number) {
                return dtype;
            }
        }
        throw new IllegalStateException("The core has a dtype of number " + number);
    }
}
