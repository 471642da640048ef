"""Operators that move elements and keep all of them: transposes and new shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.elementwise import spread_rows
from edgernn.export.chunk_graph.concrete_sizes import Values
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Dim, Frames, Streamed

__all__ = ["MOVE_RULES", "settle"]


def settle(form: Form, old: ir.Value | None) -> Streamed:
    """Return a value with time for an operator that cannot move what lies before its start.

    A number before the start stays a number wherever it is moved.
    """
    one = form.streamed(old)
    time = one.time
    if time is not None and time.before is not None and time.before.size > 1:
        return form.started(one, "" if old is None else old.name or "")
    if time is not None and time.before is not None:
        return one.with_time(before=time.before.reshape(()))
    return one


def _transpose(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old = node.inputs[0]
    one = form.streamed(old)
    time = one.frames
    rank = form.rank(old)
    perm = list(node.attributes.get_ints("perm", list(range(rank))[::-1]))
    before = time.before
    if before is not None and before.ndim:
        before = before.reshape((1,) * (rank - before.ndim) + before.shape).transpose(perm)
    (new,) = form.builder.copy(node, [one.value])
    return [Streamed(new, replace(time, axis=perm.index(time.axis), before=before))]


def _identity(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    return [form.streamed(node.inputs[0])]


def _reshape(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Find the axis of the result with as many elements behind one frame as before."""
    old = node.inputs[0]
    one = settle(form, old)
    time = one.frames
    out = node.outputs[0]
    found = _after_reshape(form, old, out, time)
    if found is None and time.inner == 1 and not time.inner_batch:
        one, found = _folded(form, old, out, one)
    if found is None:
        raise form.lost(out)
    dims = form.dims(out, found)
    if (one.time, one.dims) == (found, dims):
        return [one]
    if node.op_type in ("Squeeze", "Unsqueeze"):
        (new,) = form.builder.copy(node, [one.value, form.streamed(node.inputs[1]).value])
        return [Streamed(new, found)]
    new = form.builder.reshaped(one.value, form.vector(dims, found), out.name or "reshape")
    return [Streamed(new, found)]


def _after_reshape(form: Form, old: ir.Value | None, out: ir.Value, time: Frames) -> Frames | None:
    """Return the time after a reshape; None where frames are folded into another axis.

    In a run that gives a single frame any axis may hold it: the others tell.
    """
    for axis in range(form.rank(out)):
        inners = [
            _inner_after(run, time, before, after, axis)
            for run, before, after in zip(
                form.sizes.runs, form.shapes(old), form.shapes(out), strict=True
            )
        ]
        if 0 in inners:
            continue
        if len(set(inners)) == 1:
            return replace(time, axis=axis, inner=inners[0], inner_batch=False)
        factor = form.sizes.is_batch(inners)
        if not factor:
            raise form.lost(out)
        return replace(time, axis=axis, inner=factor, inner_batch=True)
    return None


def _inner_after(
    run: Values, time: Frames, before: Sequence[int], after: Sequence[int], axis: int
) -> int:
    """Return what is within one frame of an axis after a reshape; 0 where time is not there."""
    inner = time.inner * (run.sizes.batch if time.inner_batch else 1)
    stride = inner * math.prod(before[time.axis + 1 :])
    frames = time.length(run.sizes.steps)
    behind = math.prod(after[axis + 1 :])
    there = (
        stride % behind == 0
        and (after[axis] * behind) % (stride * frames) == 0
        and after[axis] % frames == 0
    )
    return stride // behind if there else 0


def _folded(
    form: Form, old: ir.Value | None, out: ir.Value, one: Streamed
) -> tuple[Streamed, Frames | None]:
    """Return the time where every k frames become one, (…, k · n, …) → (…, n, k, …)."""
    time = one.frames
    shapes = form.shapes(old), form.shapes(out)
    for axis in range(len(shapes[1][0])):
        folds = set()
        for run, before, after in zip(form.sizes.runs, *shapes, strict=True):
            frames = time.length(run.sizes.steps)
            behind = math.prod(before[time.axis + 1 :])
            fold = math.prod(after[axis + 1 :]) // behind if behind else 0
            whole = before[time.axis] * behind == after[axis] * math.prod(after[axis + 1 :])
            folds.add(fold if fold > 1 and whole and after[axis] * fold == frames else 0)
        if len(folds) == 1 and (fold := folds.pop()):
            one = form.started(one, out.name or "fold")
            time = one.frames
            more = -time.delay % fold
            one = form.delayed(one, more, out.name or "fold")
            time = one.frames
            if time.tail % fold:
                raise UnsupportedModelError("its last frame is not whole")
            found = replace(
                time,
                axis=axis,
                rate=time.rate / fold,
                delay=time.delay // fold,
                tail=time.tail // fold,
            )
            form.builder.whole(found.rate)
            return one, found
    return one, None


def _expand(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write an Expand of other axes than time."""
    old, out = node.inputs[0], node.outputs[0]
    one = settle(form, old)
    time = one.frames
    rank = form.rank(out)
    axis = time.axis + rank - form.rank(old)
    found = replace(time, axis=axis)
    dims = form.dims(out, found)
    batch = [index for index, dim in enumerate(dims) if dim.batch and index != axis]
    if time.rows and batch:
        one = spread_rows(one, form, batch[0], rank)
        found = replace(found, rows=False)
    target = [Dim(1) if index == axis else dim for index, dim in enumerate(dims)]
    builder = form.builder
    shape = builder.size_vector(form.vector(target, None))
    new = builder.op("Expand", one.value, shape, name=out.name or "expand")
    return [Streamed(new, found)]


def _tile(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a Tile of other axes than time, as an Expand where each has one element."""
    old, out = node.inputs[0], node.outputs[0]
    shapes = zip(form.shapes(old), form.shapes(out), strict=True)
    if all(a in (1, b) for before, after in shapes for a, b in zip(before, after, strict=True)):
        return _expand(node, form)
    repeats = form.constant(node.inputs[1])
    one = settle(form, old)
    if repeats is None or int(repeats[one.frames.axis]) != 1:
        raise UnsupportedModelError("it repeats the sequence, or as often as it has steps")
    (new,) = form.builder.copy(node, [one.value, form.no_time(node.inputs[1]).value])
    return [Streamed(new, one.frames)]


MOVE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Transpose": _transpose,
    "Identity": _identity,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    "Expand": _expand,
    "Tile": _tile,
}
