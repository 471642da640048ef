"""Operators that pad and join: along time they put frames before a value or after it.

Pad 2, 0                      frame j is frame j - 2: 2 frames earlier, zeros before the start
cat((first, x[:, :-1]), 1)    the same, with a frame that is learned
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.elementwise import aligned, met, values_of
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.slices import shifted
from edgernn.export.chunk_form.windows import is_input
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed

__all__ = ["JOIN_RULES", "constant_frames", "padded"]

_MODES = {"edge": "replicate", "wrap": "circular"}
"""What torch calls ONNX's modes."""


def _pad(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old, out = node.inputs[0], node.outputs[0]
    one = settle(form, old)
    time = one.frames
    rank = form.rank(old)
    runs = form.numbers(node.inputs[1])
    if runs is None or len({run.tobytes() for run in runs}) > 1:
        raise UnsupportedModelError("how much it pads depends on the number of steps, or on data")
    pads = [int(pad) for pad in runs[0]]
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        found = form.constant(node.inputs[3])
        assert found is not None
        axes = [int(axis) % rank for axis in found]
    front = {axis: pads[i] for i, axis in enumerate(axes)}
    back = {axis: pads[i + len(axes)] for i, axis in enumerate(axes)}
    left, right = front.get(time.axis, 0), back.get(time.axis, 0)
    mode = node.attributes.get_string("mode", "constant")
    if (left or right) and mode != "constant":
        raise UnsupportedModelError(
            f"it pads time in mode `{_MODES.get(mode, mode)}`, which reads steps before they are "
            "there"
        )
    fill = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        fill = form.constant(node.inputs[2])
        if fill is None:
            raise UnsupportedModelError("what it pads with depends on data")
    assert one.value.dtype is not None
    number = np.asarray(0 if fill is None else fill, one.value.dtype.numpy()).reshape(())
    builder = form.builder
    others = [axis for axis in axes if axis != time.axis and (front[axis] or back[axis])]
    if others:
        if time.before is not None and not np.array_equal(time.before, number):
            one = form.started(one, out.name or "pad")
            time = one.frames
        amounts = [front.get(axis, 0) if axis in others else 0 for axis in range(rank)]
        amounts += [back.get(axis, 0) if axis in others else 0 for axis in range(rank)]
        value = builder.op(
            "Pad",
            one.value,
            builder.ints(*amounts),
            builder.constant(number, "pad_value"),
            name=out.name or "pad",
            mode=mode,
        )
        one = one.with_value(value)
    if left < 0 or right < 0:
        one = shifted(form, one, max(0, -left), max(0, -right), 1, out.name or "pad")
        left, right = max(left, 0), max(right, 0)
    return [padded(form, one, left, right, number, out.name or "pad")]


def padded(
    form: Form,
    one: Streamed,
    left: int,
    right: int,
    number: np.ndarray,
    name: str,
) -> Streamed:
    """Return a value with frames of a number before its start and after its end."""
    time = one.frames
    if (left or right) and (time.inner != 1 or time.inner_batch or time.rows):
        one = form.plain(one)
        time = one.frames
    differs = time.before is not None and not np.array_equal(time.before, number)
    if right and time.tail < 0:
        one = form.started(one, name)
    elif left and differs:
        shape = [left if axis == time.axis else 1 for axis in range(len(one.dims))]
        one, left = _preceded(form, one, np.full(shape, number)), 0
    time = one.frames
    if left:
        if time.delay > 0:
            one = form.builder.masked(one, number)
        after = time.delay - left
        time = replace(time, delay=after, before=number if after < 0 else None)
    if right:
        exact = is_input(one) and time.tail == 0 and not np.any(number)
        time = replace(time, tail=time.tail + right, exact_end=exact)
    return replace(one, time=time)


def _concat(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    out = node.outputs[0]
    rank = form.rank(out)
    axis = node.attributes["axis"].as_int() % rank
    timed = [i for i, old in enumerate(node.inputs) if _has_time(form, old)]
    if _wraps_along(node, form, axis):
        return [_concat_time(node, form, (0, 1))]
    if all(form.streamed(node.inputs[i]).frames.axis != axis for i in timed):
        return _concat_features(node, form, rank)
    if len(timed) != 1:
        raise UnsupportedModelError("it joins sequences one after the other")
    return [_concat_time(node, form, timed)]


def _has_time(form: Form, old: ir.Value | None) -> bool:
    return old not in form.refused and form.streamed(old).time is not None


def _wraps_along(node: ir.Node, form: Form, axis: int) -> bool:
    second = node.inputs[1] if len(node.inputs) == 2 else None
    if second is None or not _has_time(form, second):
        return False
    return form.streamed(second).frames.axis == axis and _wraps(node, form)


def _concat_features(node: ir.Node, form: Form, rank: int) -> Sequence[Streamed | None]:
    inputs = aligned(node, form, rank, start=True)
    for old, one in zip(node.inputs, inputs, strict=True):
        if one is not None and one.time is None:
            raise UnsupportedModelError(f"it joins steps and `{old.name if old else ''}`")
    (new,) = form.builder.copy(node, values_of(inputs))
    return [Streamed(new, met(inputs, rank))]


def _concat_time(node: ir.Node, form: Form, timed: Sequence[int]) -> Streamed:
    """Return constants before a value, and after it, as padding."""
    if len(timed) == 2:
        # the first ones are known at the end alone: what reads them is refused
        last, one = node.inputs[0], settle(form, node.inputs[1])
        count = form.shapes(last)[0][one.frames.axis]
        return padded(form, one, count, 0, np.asarray(np.nan, np.float32), "roll")
    (place,) = timed
    old, name = node.inputs[place], node.outputs[0].name or "concat"
    one = settle(form, old)
    axis = one.frames.axis
    for index in (*reversed(range(place)), *range(place + 1, len(node.inputs))):
        other = node.inputs[index]
        array = constant_frames(form, other)
        if array is None:
            raise UnsupportedModelError(
                f"it joins steps and `{other.name if other else ''}`, which is no constant"
            )
        count = form.shapes(other)[0][axis]
        if np.ptp(array) == 0 or index > place:
            number = np.asarray(array.flat[0])
            left, right = (count, 0) if index < place else (0, count)
            one = padded(form, one, left, right, number, name)
        else:
            one = _preceded(form, one, _without_batch(form, other, array))
    return one


def _wraps(node: ir.Node, form: Form) -> bool:
    """Return whether a Concat puts the last steps in front of the others, as `torch.roll` does."""
    first, second = (None if value is None else value.producer() for value in node.inputs)
    return (
        first is not None
        and second is not None
        and first.op_type == second.op_type == "Slice"
        and first.inputs[0] is second.inputs[0]
        and (node.inputs[0] in form.refused or form.streamed(node.inputs[0]).moment)
    )


def _without_batch(form: Form, old: ir.Value | None, array: np.ndarray) -> np.ndarray:
    """Return the frames of a constant, with 1 for the batch."""
    pairs = zip(*form.shapes(old)[:2], strict=True)
    return np.broadcast_to(array, [one if one == other else 1 for one, other in pairs])


def _but(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return a shape with 1 along an axis."""
    return tuple(1 if index == axis else size for index, size in enumerate(shape))


def _preceded(form: Form, one: Streamed, frames: np.ndarray) -> Streamed:
    """Return a value with some frames before its start that differ from each other."""
    one = form.plain(one)
    axis = one.frames.axis
    if one.frames.delay > 0:
        raise UnsupportedModelError("it puts several frames before steps that come later")
    if one.frames.delay:
        before = np.asarray(one.frames.before)
        shape = np.broadcast_shapes(_but(frames.shape, axis), _but(before.shape, axis))
        known = before.shape[axis] if before.ndim and before.shape[axis] > 1 else 0
        parts = ((frames, frames.shape[axis]), (before, known or -one.frames.delay))
        frames = np.concatenate(
            [
                np.broadcast_to(part, (*shape[:axis], size, *shape[axis + 1 :]))
                for part, size in parts
            ],
            axis,
        )
    return one.with_time(delay=-frames.shape[axis], before=np.array(frames))


def constant_frames(form: Form, old: ir.Value | None) -> np.ndarray | None:
    """Return the numbers of a value that is constant but for its batch."""
    array = form.constant(old)
    if array is not None or old is None:
        return array
    node = old.producer()
    if node is None:
        return None
    if node.op_type == "ConstantOfShape":
        tensor = node.attributes.get("value")
        return np.zeros(1, np.float32) if tensor is None else tensor.as_tensor().numpy()
    if node.op_type == "Mul":
        factors = [form.constant(value) for value in node.inputs]
        return np.zeros(1, np.float32) if any(_is_zero(one) for one in factors) else None
    if node.op_type in ("Expand", "Identity", "Cast"):
        return constant_frames(form, node.inputs[0])
    if node.op_type in ("Transpose", "Reshape", "Unsqueeze", "Squeeze"):
        array = constant_frames(form, node.inputs[0])
        return array if array is not None and array.size == 1 else None
    return None


def _is_zero(array: np.ndarray | None) -> bool:
    return array is not None and not np.any(array)


JOIN_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Pad": _pad,
    "Concat": _concat,
}
