"""Frames that are taken by their numbers: `x.unfold`, framing, repeated frames.

Numbers that follow from sizes alone are read off the graph at several sizes. Where they go on by a
constant, a chunk takes its own frames and those before it in the same way:

    x.unfold(1, 4, 2)             [[0 1 2 3] [2 3 4 5] …]     every group 2 frames later
    x.repeat_interleave(3, 1)     [0 0 0 1 1 1 …]             every 3 numbers 1 frame later
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.slices import last_frames
from edgernn.export.chunk_form.tables import limit_lookup
from edgernn.export.chunk_form.windows import Window, window
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Dim, Streamed

__all__ = ["GATHER_RULES", "Pattern", "pattern_of"]


@dataclass(frozen=True)
class Pattern:
    """Numbers of frames that go on by a constant.

    Attributes:
        offsets: The numbers of the first group, `period` by what each has besides.
        stride: How much greater the numbers of the next group are.
        axis: The axis of the numbers along which groups follow one another.
        groups: How many there are in each run.
    """

    offsets: NDArray[np.int64]
    stride: int
    axis: int
    groups: tuple[int, ...]

    @property
    def period(self) -> int:
        """How many numbers along the axis make a group."""
        return int(self.offsets.shape[0])

    @property
    def span(self) -> int:
        """The frames from the first to the last of a group."""
        return int(self.offsets.max() - self.offsets.min()) + 1


def pattern_of(runs: Sequence[NDArray[Any]]) -> Pattern | None:
    """Return how numbers go on, or None where they do not go on by a constant."""
    sizes = [{run.shape[axis] for run in runs} for axis in range(runs[0].ndim)]
    growing = [axis for axis, found in enumerate(sizes) if len(found) > 1]
    if len(growing) != 1:
        return None
    (axis,) = growing
    rows = [np.moveaxis(run, axis, 0).astype(np.int64) for run in runs]
    longest = max(rows, key=len)
    for period in range(1, min(len(row) for row in rows) + 1):
        steps = np.unique(longest[period:] - longest[:-period])
        if (
            len(steps) == 1
            and steps[0] > 0
            and all(len(row) % period == 0 for row in rows)
            and all(np.array_equal(row, longest[: len(row)]) for row in rows)
        ):
            groups = tuple(len(row) // period for row in rows)
            return Pattern(longest[:period], int(steps[0]), axis, groups)
    return None


def _gather(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    data, indices, out = node.inputs[0], node.inputs[1], node.outputs[0]
    axis = node.attributes.get_int("axis", 0) % form.rank(data)
    first = form.streamed(data)
    if first.time is None:
        one = settle(form, indices)
        time = one.frames
        one = limit_lookup(node, form, one)
        return per_frame(node, form, one, time.at(time.axis + axis), 1)
    one = settle(form, data)
    time = one.frames
    if axis != time.axis:
        moved = time.axis + (form.rank(indices) - 1 if axis < time.axis else 0)
        if time.before is None:
            return per_frame(node, form, one, time.at(moved), 0)
        (new,) = form.builder.copy(node, [one.value, form.no_time(indices).value])
        return [Streamed(new, time.at(moved))]
    found = form.counted(indices)
    if found is None:
        raise UnsupportedModelError("which steps it takes depends on data")
    return [_numbered(form, one, indices, found, out.name or "gather")]


def _gather_nd(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a GatherND whose indices are numbers of the first axis."""
    data, indices, out = node.inputs[0], node.inputs[1], node.outputs[0]
    one = settle(form, data)
    found = form.counted(indices)
    if found is None:
        raise UnsupportedModelError("which steps it takes depends on data")
    if found[0].shape[-1] != 1 or node.attributes.get_int("batch_dims", 0):
        raise UnsupportedModelError("it takes elements, not steps")
    if one.frames.axis != 0:
        return per_frame(node, form, one, one.frames.at(one.frames.axis + found[0].ndim - 2))
    numbers = [array[..., 0] for array in found]
    return [_numbered(form, one, indices, numbers, out.name or "gather")]


def _numbered(
    form: Form,
    one: Streamed,
    indices: ir.Value | None,
    found: Sequence[NDArray[Any]],
    name: str,
) -> Streamed:
    """Return the frames of some numbers."""
    if found[0].size == 1 and found[-1].size == 1:
        return _one_frame(form, one, found, name)
    pattern = pattern_of(found)
    if pattern is None and len({array.shape for array in found}) == 1:
        more = form.sizes.longer((indices and indices.name) or "")
        pattern = pattern_of((*found, more[..., 0] if more.ndim > found[0].ndim else more))
    if pattern is None or pattern.offsets.min() < 0:
        raise UnsupportedModelError("the steps that it takes are not at equal distances")
    return _grouped(form, one, pattern, name)


def _one_frame(form: Form, one: Streamed, indices: Sequence[NDArray[Any]], name: str) -> Streamed:
    """Return one frame, which must be counted from the end."""
    lengths = [int(one.frames.length(run.sizes.steps)) for run in form.sizes.runs]
    places = {
        int(run) - length if int(run) >= 0 else int(run)
        for run, length in zip((run.reshape(()) for run in indices), lengths, strict=True)
    }
    if len(places) != 1:
        raise UnsupportedModelError("it takes one constant step of the sequence")
    last = last_frames(form, one, -places.pop() - 1, 1)
    if indices[0].ndim == 1:
        return last
    axis = one.frames.axis
    builder = form.builder
    if indices[0].ndim == 0:
        value = builder.op("Squeeze", last.value, builder.ints(axis), name=name)
    else:
        more = range(axis, axis + indices[0].ndim - 1)
        value = builder.op("Unsqueeze", last.value, builder.ints(*more), name=name)
    value.type = one.value.type
    return replace(last, value=value)


def _grouped(form: Form, one: Streamed, pattern: Pattern, name: str) -> Streamed:
    """Return groups of frames: the axis of time becomes those of the numbers."""
    builder = form.builder
    one = form.plain(one)
    stride, first = pattern.stride, int(pattern.offsets.min())
    builder.whole(one.frames.rate / stride)
    lengths = [int(one.frames.length(run.sizes.steps)) for run in form.sizes.runs]
    rests = {
        first + (groups - 1) * stride + pattern.span - length
        for groups, length in zip(pattern.groups, lengths, strict=False)
    }
    if len(rests) != 1:
        raise UnsupportedModelError("how many steps it leaves out changes")
    shape = Window(pattern.span, stride, 1, -first, rests.pop())
    frames, made = window(form, one, shape, name, rounds_up=True)
    axis, period = made.axis, pattern.period
    time = replace(
        made,
        axis=axis + pattern.axis,
        rate=made.rate * period,
        delay=made.delay * period,
        tail=made.tail * period,
    )
    value = _taken(form, frames, pattern, builder.frame_count(made.rate), axis, name)
    value.type = one.value.type
    others = [Dim(size) for size in pattern.offsets.shape[1:]]
    others.insert(pattern.axis, Dim(1))
    dims = (*one.dims[:axis], *others, *one.dims[axis + 1 :])
    return Streamed(value, time, dims=dims)


def _taken(
    form: Form, frames: Streamed, pattern: Pattern, count: int | ir.Value, axis: int, name: str
) -> ir.Value:
    """Return the frames of this chunk's groups."""
    builder = form.builder
    offsets = pattern.offsets - pattern.offsets.min()
    in_order = offsets.shape[0] == 1 and np.array_equal(offsets.ravel(), np.arange(pattern.span))
    if count == 1 and in_order and offsets.ndim == 2:
        # one group is the window itself
        place = axis if pattern.axis == 0 else axis + 1
        return builder.op("Unsqueeze", frames.value, builder.ints(place), name=name)
    first = builder.constant(np.moveaxis(offsets, 0, pattern.axis), "taps")
    if count == 1:
        return builder.op("Gather", frames.value, first, name=name, axis=axis)
    # groups · period along the axis: number them by group, then move the period behind it
    starts = builder.op(
        "Mul", builder.offsets(count), builder.ints(pattern.stride), name=f"{name}_starts"
    )
    starts = builder.op(
        "Unsqueeze", starts, builder.ints(*range(1, offsets.ndim + 1)), name=f"{name}_starts"
    )
    taps = builder.constant(offsets[None], "taps")
    numbers = builder.op("Add", starts, taps, name=f"{name}_numbers")
    shape = builder.ints(-1, *offsets.shape[1:])
    numbers = builder.op("Reshape", numbers, shape, name=f"{name}_numbers")
    if pattern.axis:
        order = list(range(1, offsets.ndim))
        order.insert(pattern.axis, 0)
        numbers = builder.op("Transpose", numbers, name=f"{name}_numbers", perm=order)
    return builder.op("Gather", frames.value, numbers, name=name, axis=axis)


GATHER_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Gather": _gather,
    "GatherND": _gather_nd,
}
