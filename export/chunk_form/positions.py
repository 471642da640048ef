"""Counters and running sums: what a sequence knows of its own length so far.

Range 0, sequence      the position, and the frames after it
CumSum                 the sum before this chunk is a state
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.static import copied
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["POSITION_RULES"]


def _range(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write the numbers of steps from the position."""
    out = node.outputs[0]
    runs = [form.integers(value) for value in node.inputs]
    counts = [shape[0] for shape in form.shapes(out)]
    if len(set(counts)) == 1:
        return copied(node, form)
    if any(run is None for run in runs):
        raise UnsupportedModelError("its numbers depend on data")
    first, _, step = ([int(one) for one in run or ()] for run in runs)
    if len(set(first)) != 1 or len(set(step)) != 1:
        raise UnsupportedModelError("it counts back from the end of the sequence")
    time = _counted(form, counts)
    builder = form.builder
    value = builder.frame_index(time.rate, time.delay)
    if step[0] != 1:
        value = builder.op("Mul", value, builder.ints(step[0]), name="positions")
    if first[0] != 0:
        value = builder.op("Add", value, builder.ints(first[0]), name="positions")
    assert out.dtype is not None
    if out.dtype != ir.DataType.INT64:
        value = builder.op("Cast", value, name="positions", to=int(out.dtype))
    value = builder.op("Reshape", value, builder.ints(-1), name=out.name or "positions")
    value.type = out.type
    return [Streamed(value, time)]


def _counted(form: Form, counts: Sequence[int]) -> Frames:
    """Return the time of as many numbers as the graph counts in each run."""
    steps = [run.sizes.steps for run in form.sizes.runs]
    rate = Fraction(counts[-1] - counts[0], steps[-1] - steps[0])
    rests = {count - rate * step for count, step in zip(counts, steps, strict=True)}
    if rate <= 0 or len(rests) != 1 or (rest := rests.pop()).denominator != 1:
        raise UnsupportedModelError("how far it counts is no multiple of the steps")
    form.builder.whole(rate)
    return Frames(0, rate=rate, delay=max(0, -int(rest)), tail=max(0, int(rest)), rows=True)


def _filled(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a constant for every step, as `torch.zeros(batch, sequence)`."""
    out = node.outputs[0]
    one = form.streamed(node.inputs[0]) if node.op_type == "Expand" else None
    if one is not None and one.time is not None:
        raise AssertionError("an Expand of time is a move")
    found = _time_of_shape(form, out)
    if found is None:
        return copied(node, form)
    shape = form.builder.size_vector(form.vector(form.dims(out, found), found))
    if one is None:
        (value,) = form.builder.copy(node, [shape])
    else:
        value = form.builder.op("Expand", one.value, shape, name=out.name or "expand")
    value.type = out.type
    return [Streamed(value, found)]


def _time_of_shape(form: Form, out: ir.Value) -> Frames | None:
    """Return the time in a value of one number for every step, None where it has no such axis."""
    shapes = form.shapes(out)
    for axis, sizes in enumerate(zip(*shapes, strict=True)):
        if sizes[0] == sizes[2] == sizes[3] or len(set(sizes)) == 1:
            continue
        if sizes[0] != sizes[1]:  # the batch is in the same axis
            sizes = tuple(
                size // run.sizes.batch for size, run in zip(sizes, form.sizes.runs, strict=True)
            )
        return replace(_counted(form, sizes), axis=axis, rows=False)
    return None


def _expand(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    from edgernn.export.chunk_form.moves import MOVE_RULES

    one = form.streamed(node.inputs[0])
    return MOVE_RULES["Expand"](node, form) if one.time is not None else _filled(node, form)


def _cumsum(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old, out = node.inputs[0], node.outputs[0]
    one = settle(form, old)
    if one.time is None:
        return copied(node, form)
    axis = form.constant(node.inputs[1])
    if axis is None or int(axis) % form.rank(old) != one.time.axis:
        return per_frame(node, form, one, one.time)
    if node.attributes.get_int("reverse", 0):
        raise UnsupportedModelError("it sums from the last step to the first")
    one = form.defined(form.plain(form.started(one, out.name or "sum")), 0)
    time, builder = one.frames, form.builder
    dims = one.shape_of_frames(1)
    assert one.value.dtype is not None
    before = builder.add_state(f"{out.name}_sum", dims, one.value.dtype, None)
    if node.attributes.get_int("exclusive", 0):
        raise UnsupportedModelError("it sums without the step itself")
    along = builder.constant(np.array(time.axis, np.int64), "int")
    sums = builder.op("CumSum", one.value, along, name=out.name or "sum")
    value = builder.op("Add", sums, before, name=out.name or "sum")
    value.type = one.value.type
    builder.set_next(before, builder.slice(value, time.axis, -1))
    return [Streamed(value, time)]


POSITION_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Range": _range,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "CumSum": _cumsum,
}
