"""How the outputs of a graph that takes chunks follow its input in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Streaming"]


@dataclass(frozen=True)
class Streaming:
    """The hop of a pair of graphs, and the delay of each output.

    A kernel of 3 over `x[0], x[1], x[2], …` without padding gives its first value at `x[2]`; with
    one step of padding at each end the model has one value more at the end.

        input                 x0   x1   x2   x3   x4
        no padding                      y0   y1   y2         y0 = f(x0, x1, x2)
        output of the graph   -    -    y0   y1   y2         delay 2
        padded at both ends        y0   y1   y2   y3   y4    y0 = f(0, x0, x1), y4 = f(x3, x4, 0)
        output of the graph   -    y0   y1   y2   y3         delay 1, tail 1

    Attributes:
        hop: The steps of the input that one call of the step graph takes; chunks are whole hops.
        delays: Name of an output → the number of its first steps in a new stream that are
            undefined, in its own steps. An output that has none is left out.
        tails: Name of an output → the number of the last steps of the model's output that depend on
            what follows the end of the input. An output that has none is left out.
        padding: Name of an input → the value that, fed after the end, gives these last steps
            exactly. An input for which that is not exact is left out.
    """

    hop: int = 1
    delays: Mapping[str, int] = field(default_factory=dict)
    tails: Mapping[str, int] = field(default_factory=dict)
    padding: Mapping[str, float] = field(default_factory=dict)
