"""Frames that are written to places of their own: overlap-add by indices, first frames overwritten.

torch.zeros(…).index_add(1, i, frames)    frames that overlap are added, as `F.fold` does
y[:, :2] = 0                              the first frames of a sequence are constants
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.gathers import Pattern, pattern_of
from edgernn.export.chunk_form.joins import constant_frames, padded
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.overlap_add import Overlap, cropped, partial_size
from edgernn.export.chunk_form.slices import shifted
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["SCATTER_RULES"]


def _scatter_nd(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    found = form.counted(node.inputs[1])
    if found is None or found[0].shape[-1] != 1 or found[0].ndim != 2:
        raise UnsupportedModelError("where it writes depends on data")
    numbers = [array[:, 0] for array in found]
    reduction = node.attributes.get_string("reduction", "none")
    if reduction == "add":
        return [_added(node, form, numbers, 0)]
    if reduction != "none":
        raise UnsupportedModelError(f"it writes with reduction `{reduction}`")
    return [_overwritten(node, form, numbers)]


def _scatter_elements(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    axis = node.attributes.get_int("axis", 0) % form.rank(node.inputs[0])
    found = form.counted(node.inputs[1])
    if found is None or node.attributes.get_string("reduction", "none") != "add":
        raise UnsupportedModelError("where it writes depends on data")
    rows = [np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in found]
    if any((row != row[:, :1]).any() for row in rows):
        raise UnsupportedModelError("it writes to other steps for each sequence")
    return [_added(node, form, [row[:, 0] for row in rows], axis)]


def _overwritten(node: ir.Node, form: Form, numbers: Sequence[NDArray[np.int64]]) -> Streamed:
    """Write constants over the first frames of a value."""
    data, _, updates = node.inputs
    one = settle(form, data)
    count = len(numbers[0])
    array = constant_frames(form, updates)
    first = all(np.array_equal(row, np.arange(count)) for row in numbers)
    if one.frames.axis != 0 or not first:
        raise UnsupportedModelError("it writes to other steps than the first ones")
    if array is None or np.ptp(array) != 0:
        raise UnsupportedModelError("what it writes is no constant")
    name = node.outputs[0].name or "scatter"
    rest = shifted(form, one, count, 0, 1, name)
    assert one.value.dtype is not None
    number = np.asarray(array.flat[0], one.value.dtype.numpy())
    return padded(form, rest, count, 0, number, name)


def _added(node: ir.Node, form: Form, numbers: Sequence[NDArray[np.int64]], axis: int) -> Streamed:
    """Write frames added to zeros at an axis."""
    zeros, _, updates = node.inputs
    out, name = node.outputs[0], node.outputs[0].name or "scatter"
    start, pattern = constant_frames(form, zeros), pattern_of(numbers)
    if start is None or np.any(start):
        raise UnsupportedModelError("it adds to data")
    if pattern is None or pattern.offsets.min() != 0:
        raise UnsupportedModelError("the steps that it adds to are not at equal distances")
    overlap = Overlap(pattern.span, pattern.stride)
    one = form.defined(form.started(form.plain(settle(form, updates)), name), 0.0)
    made = _time_of_sums(one, pattern, overlap, axis)
    sizes = [shape[axis] for shape in form.shapes(zeros)]
    backs = {
        (groups - 1) * overlap.stride + overlap.span - size
        for groups, size in zip(pattern.groups, sizes, strict=True)
    }
    if len(backs) != 1:
        raise UnsupportedModelError("how much it crops changes")
    partial = _partial(form, one, made, pattern, overlap, name)
    return cropped(form, partial, made, out, overlap, (0, backs.pop()), name)


def _time_of_sums(one: Streamed, pattern: Pattern, overlap: Overlap, axis: int) -> Frames:
    time, period = one.frames, pattern.period
    if time.axis != axis or time.delay % period or time.tail % period:
        raise UnsupportedModelError("what it adds is not frame by frame")
    return replace(
        time,
        rate=time.rate / period * overlap.stride,
        delay=time.delay // period * overlap.stride,
        tail=time.tail // period * overlap.stride + overlap.kept,
        before=None,
        exact_end=time.exact_end and overlap.kept <= 0,
    )


def _partial(
    form: Form, one: Streamed, made: Frames, pattern: Pattern, overlap: Overlap, name: str
) -> ir.Value:
    """Return the sums of a chunk's frames alone."""
    builder, axis, rank = form.builder, made.axis, len(one.dims)
    builder.whole(made.rate / overlap.stride)
    count = builder.frame_count(made.rate / overlap.stride)
    in_order = np.array_equal(pattern.offsets, np.arange(overlap.span))
    if count == 1 and in_order and overlap.kept >= 0:
        return one.value
    starts = builder.op(
        "Mul", builder.offsets(count), builder.ints(overlap.stride), name=f"{name}_starts"
    )
    starts = builder.op("Unsqueeze", starts, builder.ints(1), name=f"{name}_starts")
    taps = builder.constant(pattern.offsets, "taps")
    places = builder.op("Add", starts, taps, name=f"{name}_places")
    places = builder.op("Reshape", places, builder.ints(-1, 1), name=f"{name}_places")
    order = [axis, *(index for index in range(rank) if index != axis)]
    frames = one.value
    if axis:
        frames = builder.op("Transpose", frames, name=f"{name}_frames", perm=order)
    sizes = [partial_size(form, made, overlap)]
    if rank > 1:
        others = [dim for index, dim in enumerate(one.dims) if index != axis]
        sizes.append(builder.size_vector(form.vector(others, None)))
    shape = builder.op("Concat", *sizes, name=f"{name}_shape", axis=0)
    assert one.value.dtype is not None
    zero = ir.tensor(np.zeros(1, one.value.dtype.numpy()))
    zeros = builder.op("ConstantOfShape", shape, name=f"{name}_zeros", value=zero)
    sums = builder.op("ScatterND", zeros, places, frames, name=f"{name}_sums", reduction="add")
    if axis:
        back = [order.index(index) for index in range(rank)]
        sums = builder.op("Transpose", sums, name=f"{name}_sums", perm=back)
    sums.type = one.value.type
    return sums


SCATTER_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
}
