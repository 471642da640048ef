"""Counters: what a sequence knows of its own length so far.

Range 0, sequence      the position, and the frames after it
zeros(batch, sequence) a constant for each frame
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.static import copied
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["POSITION_RULES", "counted"]


def _range(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write the numbers of steps from the position."""
    out = node.outputs[0]
    runs = [form.numbers(value) for value in node.inputs]
    counts = [shape[0] for shape in form.shapes(out)]
    if len(set(counts)) == 1:
        return copied(node, form)
    if any(run is None for run in runs):
        raise UnsupportedModelError("its numbers depend on data")
    first, _, step = ([one.item() for one in run or ()] for run in runs)
    if len(set(first)) != 1 or len(set(step)) != 1:
        raise UnsupportedModelError("it counts back from the end of the sequence")
    time = counted(form, counts)
    builder = form.builder
    value = builder.frame_index(time.rate, time.delay)
    assert out.dtype is not None
    if out.dtype != ir.DataType.INT64:
        value = builder.op("Cast", value, name="positions", to=int(out.dtype))
    for op_type, number, neutral in (("Mul", step[0], 1), ("Add", first[0], 0)):
        if number != neutral:
            other = builder.constant(np.array([number], out.dtype.numpy()), "numbers")
            value = builder.op(op_type, value, other, name="positions")
    value = builder.op("Reshape", value, builder.ints(-1), name=out.name or "positions")
    value.type = out.type
    return [Streamed(value, time)]


def counted(form: Form, counts: Sequence[int], axis: int = 0) -> Frames:
    """Return the time of as many numbers as the graph counts in each run, along an axis."""
    steps = [run.sizes.steps for run in form.sizes.runs]
    rate = Fraction(counts[-1] - counts[0], steps[-1] - steps[0])
    rests = {count - rate * step for count, step in zip(counts, steps, strict=True)}
    if rate <= 0 or len(rests) != 1 or (rest := rests.pop()).denominator != 1:
        raise UnsupportedModelError("how far it counts is no multiple of the steps")
    form.builder.whole(rate)
    return Frames(axis, rate=rate, delay=max(0, -int(rest)), tail=max(0, int(rest)), rows=True)


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
        return replace(counted(form, sizes, axis), rows=False)
    return None


def _expand(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    from edgernn.export.chunk_form.moves import MOVE_RULES

    one = form.streamed(node.inputs[0])
    return MOVE_RULES["Expand"](node, form) if one.time is not None else _filled(node, form)


POSITION_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Range": _range,
    "ConstantOfShape": _filled,
    "Expand": _expand,
}
