"""Operators that cut, join and pad: along time they shift it, along other axes they do not.

x[:, 2:]       frame j of the result is frame j + 2 of x: 2 frames later
Pad 2, 0       frame j is frame j - 2: 2 frames earlier, zeros before the start
x[:, :-1]      the last one is not there: one frame later
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.windows import Window, window
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.size_builder import END
from edgernn.export.chunk_graph.time_axis import Streamed

__all__ = ["SLICE_RULES", "last_frames", "shifted"]


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
        return [shifted(form, one, front, back, stride, out.name or "slice")]
    if len(cut_back) == 1 and stride == 1 and len({end - start for start, end in spans}) == 1:
        return [last_frames(form, one, cut_back.pop(), spans[0][1] - spans[0][0])]
    raise UnsupportedModelError("it takes a constant part of the sequence")


def shifted(form: Form, one: Streamed, front: int, back: int, stride: int, name: str) -> Streamed:
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
    return one.with_time(
        delay=time.delay + front,
        tail=time.tail - back,
        before=time.before if time.delay + front < 0 else None,
    )


def last_frames(form: Form, one: Streamed, back: int, count: int) -> Streamed:
    """Return the last frames of a chunk: what is known after its last step."""
    one = form.started(one, "last") if one.frames.tail < 0 else one
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


def _split(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = settle(form, node.inputs[0])
    time = one.frames
    if node.attributes.get_int("axis", 0) % form.rank(node.inputs[0]) == time.axis:
        raise UnsupportedModelError("it divides the sequence into parts")
    if time.delay < 0 and len(node.outputs) > 1:
        one = form.started(one, node.outputs[0].name or "split")
        time = one.frames
    return per_frame(node, form, one, time)


SLICE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Slice": _slice,
    "Split": _split,
}
