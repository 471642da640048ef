"""Running results: sums, products, maxima and minima of all frames so far.

CumSum(x)     Add(sum_in, CumSum(x)); its last frame → sum_out
Scan of Max   from maximum_in instead of the lowest number; its last frame → maximum_out
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.recurrence import RECURRENCE_RULES
from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed
from edgernn.export.lower.running_results import running_scan

__all__ = ["RUNNING_RULES"]


def _cumsum(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old, out = node.inputs[0], node.outputs[0]
    one = settle(form, old)
    axis = form.constant(node.inputs[1])
    if axis is None or int(axis) % form.rank(old) != one.frames.axis:
        return per_frame(node, form, one, one.frames)
    if node.attributes.get_int("reverse", 0):
        raise UnsupportedModelError("it sums from the last step to the first")
    exclusive = bool(node.attributes.get_int("exclusive", 0))
    one = form.plain(form.started(one, out.name or "sum"))
    count = _count(node, form, one, exclusive)
    if count is not None:
        return [count]
    one = form.defined(one, 0)
    return [_summed(form.builder, one, out.name or "sum", exclusive)]


def _summed(builder: ChunkBuilder, one: Streamed, name: str, exclusive: bool) -> Streamed:
    """Return the sums of all frames so far; exclusive, those before each frame."""
    time = one.frames
    assert one.value.dtype is not None
    before = builder.add_state("sum", one.shape_of_frames(1), one.value.dtype, None)
    sums = one.value
    if builder.frame_count(time.rate) != 1:
        along = builder.constant(np.array(time.axis, np.int64), "int")
        sums = builder.op("CumSum", sums, along, name=name)
    sums = builder.op("Add", sums, before, name=name)
    sums.type = one.value.type
    builder.set_next(before, _last_frame(builder, sums, time))
    if exclusive:
        sums = builder.op("Sub", sums, one.value, name=name)
        sums.type = one.value.type
    return Streamed(sums, time)


def _last_frame(builder: ChunkBuilder, value: ir.Value, time: Frames) -> ir.Value:
    if builder.frame_count(time.rate) == 1:
        return value
    return builder.slice(value, time.axis, -1)


def _count(node: ir.Node, form: Form, one: Streamed, exclusive: bool) -> Streamed | None:
    """Return the sums of one number for every frame from the position; None for other sums."""
    old, out = node.inputs[0], node.outputs[0]
    assert old is not None
    arrays = form.sizes.fixed_numbers(old.name or "")
    if arrays is None or one.batch_axis < 0 or one.dims[one.batch_axis].factor != 1:
        return None
    numbers = {number for array in arrays for number in np.unique(array).tolist()}
    if len(numbers) != 1 or one.frames.delay:
        return None
    builder, time = form.builder, one.frames
    index = builder.frame_index(time.rate)
    assert out.dtype is not None
    value = builder.op("Cast", builder.placed(index, one), name="count", to=int(out.dtype))
    for op_type, number in (("Add", 0 if exclusive else 1), ("Mul", numbers.pop())):
        other = builder.constant(np.array(number, out.dtype.numpy()), "number")
        value = builder.op(op_type, value, other, name="count")
    shape = builder.size_vector(form.vector(form.dims(out, time), time))
    value = builder.op("Expand", value, shape, name=out.name or "count")
    return Streamed(value, time)


def _scan(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a running maximum, minimum, product or logarithm of a sum; or another Scan."""
    running = running_scan(node)
    if running is None:
        return RECURRENCE_RULES["Scan"](node, form)
    name = _NAMES[running.kind]
    one = form.streamed(node.inputs[1])
    if one.time is None or one.frames.axis != 0:
        raise UnsupportedModelError("it runs along another axis than time")
    one.value.type = ir.TensorType(running.dtype)
    one = form.defined(form.plain(form.started(one, name)), running.start)
    time, builder = one.frames, form.builder
    shape = one.shape_of_frames(1)[1:]
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    initial = np.full(sizes, running.start, running.dtype.numpy())
    before = builder.add_state(name, shape, running.dtype, initial)
    if builder.frame_count(time.rate) == 1:
        value = running.combined(builder.nodes, before, one.value)
        last = builder.op("Squeeze", value, builder.ints(0), name=name)
    else:
        last, value = builder.copy(node, [before, one.value])
    value.type = one.value.type
    builder.set_next(before, last)
    return [Streamed(last, None, True, time.delay, time.rate), Streamed(value, time)]


_NAMES = {
    "cumprod": "product",
    "cummax": "maximum",
    "cummin": "minimum",
    "logcumsumexp": "log_sum",
}
"""What the state of a running result is called."""

RUNNING_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "CumSum": _cumsum,
    "Scan": _scan,
}
