package edgernn;

/**
 * The largest differences from an artifact's golden run; NaN where a way does not apply.
 *
 * @param whole of the whole run in one call
 * @param chunks of chunks of 1, 2, 3 … hops
 * @param steps of single steps
 * @param withoutState the control: single steps from the initial state each, which must differ
 */
public record Differences(double whole, double chunks, double steps, double withoutState) {}
