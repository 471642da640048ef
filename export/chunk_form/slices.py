"""Operators that cut, join and pad: along time they shift it, along other axes they do not.

x[:, 2:]       frame j of the result is frame j + 2 of x: 2 frames later
Pad 2, 0       frame j is frame j - 2: 2 frames earlier, zeros before the start
x[:, :-1]      the last one is not there: one frame later
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.elementwise import aligned, met, values_of
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.tables import limit_lookup
from edgernn.export.chunk_form.windows import Window, is_input, window
from edgernn.export.chunk_graph.chunk_builder import END
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed

__all__ = ["SLICE_RULES"]


def _slice(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old, out = node.inputs[0], node.outputs[0]
    one = settle(form, old)
    time = one.frames
    rank = form.rank(old)
    starts, ends, axes, steps = _bounds(node, form, rank)
    along = [index for index, axis in enumerate(axes) if axis == time.axis]
    others = [index for index in range(len(axes)) if index not in along]
    if others:
        builder = form.builder
        part = [[int(row[0][i]) for i in others] for row in (starts, ends, steps)]
        for row, kind in ((starts, "start"), (ends, "end")):
            for i in others:
                if len({int(run[i]) for run in row}) > 1:
                    raise UnsupportedModelError(f"the {kind} of another axis than time changes")
        value = builder.op(
            "Slice",
            one.value,
            builder.ints(*part[0]),
            builder.ints(*part[1]),
            builder.ints(*(axes[i] for i in others)),
            builder.ints(*part[2]),
            name=out.name or "slice",
        )
        before = time.before if time.before is not None and not time.before.ndim else None
        one = one.with_value(value, before=before)
        time = one.frames
    if not along:
        return [one]
    (index,) = along
    if form.shapes(old) == form.shapes(out) and all(int(run[index]) == 1 for run in steps):
        return [one]
    if time.inner != 1 or time.inner_batch or time.rows:
        raise UnsupportedModelError("time and another axis are one axis")
    step = {int(run[index]) for run in steps}
    if len(step) != 1 or (stride := step.pop()) < 1:
        raise UnsupportedModelError("it reads steps from the last to the first")
    lengths = [int(time.length(run.sizes.steps)) for run in form.sizes.runs]
    spans = [
        slice(int(a[index]), int(b[index])).indices(length)[:2]
        for a, b, length in zip(starts, ends, lengths, strict=True)
    ]
    cut_front = {start for start, _ in spans}
    cut_back = {length - end for (_, end), length in zip(spans, lengths, strict=True)}
    if len(cut_front) == 1 and len(cut_back) == 1:
        front, back = cut_front.pop(), cut_back.pop()
        return [_shifted(form, one, front, back, stride, out.name or "slice")]
    if len(cut_back) == 1 and stride == 1 and len({end - start for start, end in spans}) == 1:
        return [_last(form, one, cut_back.pop(), spans[0][1] - spans[0][0])]
    raise UnsupportedModelError("it takes a constant part of the sequence")


def _shifted(form: Form, one: Streamed, front: int, back: int, stride: int, name: str) -> Streamed:
    """Return a value without `front` frames at its start and `back` at its end."""
    time = one.frames
    if stride > 1:
        frames, made = window(form, one, Window(1, stride, 1, -front, -back), name)
        builder = form.builder
        value = builder.op(
            "Slice",
            frames.value,
            builder.ints(0),
            builder.ints(END),
            builder.ints(time.axis),
            builder.ints(stride),
            name=name,
        )
        value.type = one.value.type
        return Streamed(value, made)
    one = one.with_time(
        delay=time.delay + front,
        tail=time.tail - back,
        before=time.before if time.delay + front < 0 else None,
    )
    return form.delayed(one, max(0, -one.frames.tail), name)


def _last(form: Form, one: Streamed, back: int, count: int) -> Streamed:
    """Return the last frames of a chunk: what is known after its last step."""
    time = one.frames
    if time.tail != back:
        raise UnsupportedModelError("it takes steps from the end of the sequence")
    per_hop = form.builder.frames_per_hop(time)
    if count > per_hop:
        raise UnsupportedModelError(f"it takes the last {count} steps of the sequence")
    value = form.builder.slice(one.value, time.axis, -count)
    value.type = one.value.type
    return Streamed(value, None, True, max(time.delay, 0), time.rate)


def _bounds(
    node: ir.Node, form: Form, rank: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[int], list[np.ndarray]]:
    """Return the starts, ends, axes and steps of a Slice; all but the axes in each run."""
    rows = [form.numbers(value) for value in node.inputs[1:]]
    if len(rows) < 2 or any(row is None for row in rows[:2]):
        raise UnsupportedModelError("what it takes depends on data")
    starts, ends = ([np.atleast_1d(one) for one in row or ()] for row in rows[:2])
    axes = list(range(len(starts[0])))
    if len(rows) > 2 and node.inputs[3] is not None:
        found = rows[2]
        assert found is not None
        axes = [int(axis) % rank for axis in np.atleast_1d(found[0])]
    steps = [np.ones(len(axes), np.int64)] * len(starts)
    if len(rows) > 3 and node.inputs[4] is not None:
        steps = [np.atleast_1d(one) for one in rows[3] or ()]
    return starts, ends, axes, steps


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
            f"it pads time in mode `{mode}`, which reads steps before they are there"
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
        one = _shifted(form, one, max(0, -left), max(0, -right), 1, out.name or "pad")
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
    if left:
        if time.delay > 0:
            one = form.builder.masked(one, number)
        elif time.before is not None and not np.array_equal(time.before, number):
            one = form.started(one, name)
            time = one.frames
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
    timed = [i for i, old in enumerate(node.inputs) if form.streamed(old).time is not None]
    if all(form.streamed(node.inputs[i]).frames.axis != axis for i in timed):
        return _concat_features(node, form, rank)
    return [_concat_time(node, form, timed)]


def _concat_features(node: ir.Node, form: Form, rank: int) -> Sequence[Streamed | None]:
    inputs = aligned(node, form, rank, start=True)
    for old, one in zip(node.inputs, inputs, strict=True):
        if one is not None and one.time is None:
            raise UnsupportedModelError(f"it joins steps and `{old.name if old else ''}`")
    (new,) = form.builder.copy(node, values_of(inputs))
    return [Streamed(new, met(inputs, rank))]


def _concat_time(node: ir.Node, form: Form, timed: Sequence[int]) -> Streamed:
    """Return constants before a value, and after it, as padding."""
    if len(timed) != 1:
        raise UnsupportedModelError("it joins sequences one after the other")
    (place,) = timed
    old, name = node.inputs[place], node.outputs[0].name or "concat"
    one = settle(form, old)
    time = one.frames
    for index in (*reversed(range(place)), *range(place + 1, len(node.inputs))):
        other = node.inputs[index]
        array = constant_frames(form, other)
        count = form.shapes(other)[0][time.axis]
        if array is None:
            raise UnsupportedModelError(
                f"it joins steps and `{other.name if other else ''}`, which is no constant"
            )
        left, right = (count, 0) if index < place else (0, count)
        if np.ptp(array) == 0 or index > place:
            number = np.asarray(array.flat[0])
            one = padded(form, one, left, right, number, name)
        else:
            raise UnsupportedModelError("the frames that it puts before the first one differ")
    return one


def constant_frames(form: Form, old: ir.Value | None) -> np.ndarray | None:
    """Return the numbers of a value that is constant but for its batch."""
    array = form.constant(old)
    if array is not None or old is None:
        return array
    node = old.producer()
    if node is not None and node.op_type in ("Expand", "ConstantOfShape", "Identity", "Cast"):
        if node.op_type == "ConstantOfShape":
            tensor = node.attributes.get("value")
            return np.zeros(1, np.float32) if tensor is None else tensor.as_tensor().numpy()
        return constant_frames(form, node.inputs[0])
    return None


def _split(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = settle(form, node.inputs[0])
    time = one.frames
    if node.attributes.get_int("axis", 0) % form.rank(node.inputs[0]) == time.axis:
        raise UnsupportedModelError("it divides the sequence into parts")
    if time.delay < 0 and len(node.outputs) > 1:
        one = form.started(one, node.outputs[0].name or "split")
        time = one.frames
    return per_frame(node, form, one, time)


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
    wide = form.rank(indices)
    if axis != time.axis:
        moved = time.axis + (wide - 1 if axis < time.axis else 0)
        return per_frame(node, form, one, time.at(moved), 0)
    found = form.numbers(indices)
    if found is None:
        raise UnsupportedModelError("which steps it takes depends on data")
    return [gathered(form, one, found, out.name or "gather")]


def gathered(form: Form, one: Streamed, indices: Sequence[np.ndarray], name: str) -> Streamed:
    """Return steps that a Gather takes along time: the last one, or windows at a stride."""
    time = one.frames
    lengths = [int(time.length(run.sizes.steps)) for run in form.sizes.runs]
    if indices[0].ndim == 0 or indices[0].size == 1:
        places = {
            int(run) - length if int(run) >= 0 else int(run)
            for run, length in zip((run.reshape(()) for run in indices), lengths, strict=True)
        }
        if len(places) == 1:
            last = _last(form, one, -places.pop() - 1, 1)
            if indices[0].ndim == 0:
                axes = form.builder.ints(time.axis)
                value = form.builder.op("Squeeze", last.value, axes, name=name)
                value.type = one.value.type
                return replace(last, value=value)
            return last
        raise UnsupportedModelError("it takes one constant step of the sequence")
    return framed(form, one, indices, lengths, name)


def framed(
    form: Form,
    one: Streamed,
    indices: Sequence[np.ndarray],
    lengths: Sequence[int],
    name: str,
) -> Streamed:
    """Return (frames, taps) of a value: tap k of frame l is step `l · stride + k · dilation`."""
    del form, one, indices, lengths, name
    raise UnsupportedModelError("it takes steps by their numbers")


SLICE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Slice": _slice,
    "Pad": _pad,
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
}
