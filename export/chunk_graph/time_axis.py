"""Where time is in a value of a sequence graph, and how a stream of it lags behind the model's own.

For T steps of the input, a whole number of hops, the model's value has `rate · T - delay + tail`
frames along its time axis; a stream of it has `rate · T`. Frame i of the stream is frame i - delay
of the model:

    model's own      0  1  2  3  4  5           conv of 3 without padding of 8 steps: 6 frames
    stream     ·  ·  0  1  2  3  4  5           rate 1, delay 2, tail 0
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH

__all__ = ["Band", "Dim", "Frames", "Keys", "Size", "Streamed"]


@dataclass(frozen=True)
class Band:
    """How far attention looks, in frames.

    Attributes:
        past: How many frames before its own each frame looks at, at most.
        ahead: How many after its own.
        steps: Of a run of the graph that shows it.
    """

    past: int
    ahead: int
    steps: int


@dataclass(frozen=True)
class Keys:
    """A second axis of steps, of the frames that each frame looks at.

    In a chunk it has the `past + ahead` frames before those of the chunk, and these.
    """

    axis: int
    band: Band


@dataclass(frozen=True)
class Frames:
    """The time in a value.

    The axis may hold more than time, row by row: `outer · frames · inner` elements. What is outer
    follows from the size of the axis.

    Attributes:
        axis: The axis with time.
        inner: The elements of the axis within one frame, besides the batch.
        inner_batch: Whether the batch is also within one frame.
        rate: Frames per step of the graph's input.
        delay: How many frames a stream of it lags behind the model's own. Below 0, so many frames
            of the model's own lie before the first of the stream: padding.
        tail: How many of the model's last frames a stream does not have yet: they depend on what is
            after the end. Below 0, so many frames of a stream are after the end of the model's own,
            as those of `x[:, :-1]`.
        before: The frames before the first of the stream, where `delay` is below 0: a number, or an
            array of the value's rank that broadcasts to them.
        rows: Whether a value without batch has other numbers for each sequence in a chunk: its axis
            is then batch · frames elements.
        exact_end: Whether more steps of padding after the end of the input give the tail exactly.
        keys: The axis of keys of scores and weights of attention.
    """

    axis: int
    inner: int = 1
    inner_batch: bool = False
    rate: Fraction = Fraction(1)
    delay: int = 0
    tail: int = 0
    before: NDArray[Any] | None = None
    rows: bool = False
    exact_end: bool = True
    keys: Keys | None = None

    def at(self, axis: int) -> Frames:
        """Return the same on another axis."""
        return replace(self, axis=axis)

    def length(self, steps: int) -> Fraction:
        """Return how many frames the model's own value has for `steps` steps."""
        return self.rate * steps - self.delay + self.tail


@dataclass(frozen=True)
class Dim:
    """The size of an axis, without its frames: `factor`, times the batch.

    Attributes:
        factor: The size, without the batch.
        batch: Whether it counts the batch besides.
        within: With the batch: the elements of the axis within one sequence; those of another one
            follow. 0 where that is not known.
    """

    factor: int
    batch: bool = False
    within: int = 0

    @property
    def symbol(self) -> int | str:
        """The size as ports write it."""
        if not self.batch:
            return self.factor
        return BATCH if self.factor == 1 else f"{self.factor}*{BATCH}"


@dataclass(frozen=True)
class Size:
    """A value that the graph computes from shapes alone; it is written where it is needed."""

    name: str


@dataclass(frozen=True)
class Streamed:
    """A value of the new graph, for one of the old.

    Attributes:
        value: The value in the new graph.
        time: The time in it; None where it has none.
        moment: Whether it has no time, but other numbers after each step, as a final state has.
        delay: Of a moment: after how many frames it is defined.
        rate: Of a moment: frames per step of the graph's input.
        dims: The sizes of its axes.
    """

    value: ir.Value
    time: Frames | None = None
    moment: bool = False
    delay: int = 0
    rate: Fraction = Fraction(1)
    dims: tuple[Dim, ...] = ()

    @property
    def frames(self) -> Frames:
        """The time in it, which it has."""
        assert self.time is not None
        return self.time

    def with_time(self, **changes: Any) -> Streamed:
        """Return the same value with a changed time."""
        return replace(self, time=replace(self.frames, **changes))

    def with_value(self, value: ir.Value, **changes: Any) -> Streamed:
        """Return another value of the same dtype and sizes, with a changed time."""
        value.type = self.value.type
        return replace(self, value=value, time=replace(self.frames, **changes))

    @property
    def holds_frames_alone(self) -> bool:
        """Whether its time axis has nothing but frames."""
        dim = self.dims[self.frames.axis]
        return dim.factor == 1 and not dim.batch and not self.frames.rows

    def shape_of_frames(self, count: int) -> list[int | str]:
        """Return its shape with so many frames."""
        shape = [dim.symbol for dim in self.dims]
        shape[self.frames.axis] = count
        return shape

    @property
    def batch_axis(self) -> int:
        """The axis whose size counts the batch; -1 where it has none."""
        axes = (axis for axis, dim in enumerate(self.dims) if dim.batch)
        return next(axes, -1)
