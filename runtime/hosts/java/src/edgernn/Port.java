package edgernn;

import java.util.List;

/**
 * An input or output of a graph.
 *
 * @param name the name of the port
 * @param dtype the type of its elements
 * @param shape the size of each axis, -1 where it varies
 * @param axes the name of each axis (`batch`, `sequence`, `hop`), empty where it has none
 * @param limit ids are less than it; 0 where there is no limit
 * @param delay of an output, the first steps of a sequence that are not defined and left out
 * @param tail of an output, the steps that come only from {@link Stream#finish}
 * @param isState whether it belongs to a state, which a stream feeds itself
 * @param isLengths whether it holds the number of steps of each sequence, which a stream fills
 */
public record Port(
        String name, DType dtype, List<Long> shape, List<String> axes, long limit, long delay,
        long tail, boolean isState, boolean isLengths) {}
