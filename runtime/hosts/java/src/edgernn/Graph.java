package edgernn;

/** The graphs of a model, in the order of edgernn_graph. */
public enum Graph {
    /** Runs chunks of any length. */
    SEQUENCE,
    /** Runs one step, or one hop where the model takes several steps at a time. */
    STEP
}
