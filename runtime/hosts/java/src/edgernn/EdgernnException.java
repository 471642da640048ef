package edgernn;

/** Reports a call that failed and changed nothing; {@link #kind} says what can be done about it. */
public final class EdgernnException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What a call failed for, in the order of edgernn_status. */
    public enum Kind {
        /** A graph or an artifact breaks the contract, or is not one. */
        CONTRACT,
        /** ONNX Runtime or the native library is not there, lacks the provider, or failed. */
        PROVIDER,
        /** An argument has the wrong name, dtype, shape or value. */
        INPUT,
        /** A state or a snapshot does not fit the model. */
        STATE,
        /** There is no memory. */
        MEMORY
    }

    private final Kind kind;

    EdgernnException(Kind kind, String message) {
        this(kind, message, null);
    }

    EdgernnException(Kind kind, String message, Throwable cause) {
        super(message, cause);
        this.kind = kind;
    }

    /** Return what the call failed for. */
    public Kind kind() {
        return kind;
    }
}
