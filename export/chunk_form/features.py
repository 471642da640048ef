"""Operators that compute each frame by itself, along other axes than time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.elementwise import aligned, evaluated, met, values_of
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["FEATURE_RULES", "per_frame"]


def per_frame(
    node: ir.Node, form: Form, one: Streamed, time: Frames, place: int = 0
) -> list[Streamed]:
    """Write a node as it is, whose input at `place` alone has time; all outputs have `time`."""
    before = None
    if time.delay < 0:
        before = frame_before(node, form, one, place)
        if before is None:
            one = form.started(one, node.outputs[0].name or "delay")
            assert one.time is not None
            time = replace(time, delay=one.time.delay, tail=one.time.tail)
    inputs = [
        one.value if index == place else None if value is None else form.no_time(value).value
        for index, value in enumerate(node.inputs)
    ]
    new = form.builder.copy(node, inputs)
    return [Streamed(value, replace(time, before=before)) for value in new]


def frame_before(node: ir.Node, form: Form, one: Streamed, place: int) -> NDArray[Any] | None:
    """Return what a node makes of the frames before the start; None where it is not known."""
    time = one.time
    assert time is not None
    if time.before is None or len(node.outputs) != 1:
        return None
    constants = [form.constant(value) for value in node.inputs]
    given = [index for index, value in enumerate(node.inputs) if value is not None]
    if any(constants[index] is None for index in given if index != place):
        return None
    shape = [1 if dim.batch else dim.factor for dim in one.dims]
    shape[time.axis] = time.inner
    if time.before.ndim and time.before.shape[time.axis] > 1:
        shape[time.axis] = time.before.shape[time.axis]
    arrays = list(constants)
    arrays[place] = np.array(np.broadcast_to(time.before, shape))
    return evaluated(node, arrays)


def _matmul(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    rank = form.rank(node.outputs[0])
    timed = [i for i, old in enumerate(node.inputs) if _has_time(form, old)]
    ends = [form.rank(node.inputs[i]) - form.streamed(node.inputs[i]).frames.axis for i in timed]
    contracted = [1 if index == 0 else 2 for index in timed]
    if any(end == sum_end for end, sum_end in zip(ends, contracted, strict=True)):
        raise UnsupportedModelError("it sums over all steps")
    if len(timed) == 1:
        one = settle(form, node.inputs[timed[0]])
        time = one.frames
        axis = time.axis + rank - form.rank(node.inputs[timed[0]])
        return per_frame(node, form, one, time.at(axis), timed[0])
    if min(ends) < 3:
        raise UnsupportedModelError("it multiplies every step by every other one")
    return _several(node, form, rank)


def _several(node: ir.Node, form: Form, rank: int) -> Sequence[Streamed | None]:
    """Write a node of several inputs with time, brought to the same delay."""
    inputs = aligned(node, form, rank, start=True)
    (new,) = form.builder.copy(node, values_of(inputs))
    return [Streamed(new, met(inputs, rank))]


def _gemm(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    if any(_has_time(form, old) for old in node.inputs[1:]):
        raise UnsupportedModelError("its weights change over time")
    one = settle(form, node.inputs[0])
    time = one.frames
    if time.axis != node.attributes.get_int("transA", 0):
        raise UnsupportedModelError("it sums over all steps")
    return per_frame(node, form, one, time.at(0))


def _along_axis(default: int) -> Callable[[ir.Node, Form], Sequence[Streamed | None]]:
    """Return the rule of an operator that computes along `axis`, which stays."""

    def rule(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
        one = settle(form, node.inputs[0])
        time = one.frames
        axis = node.attributes.get_int("axis", default) % form.rank(node.inputs[0])
        if axis == time.axis or (node.op_type == "LayerNormalization" and axis < time.axis):
            raise UnsupportedModelError("it needs all steps at once")
        return per_frame(node, form, one, time)

    return rule


def _within_channels(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a node that normalizes over the axes after the channels."""
    one = settle(form, node.inputs[0])
    if one.frames.axis != 0:
        raise UnsupportedModelError("it needs all steps at once")
    return per_frame(node, form, one, one.frames)


def _channels_second(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a BatchNormalization, whose numbers are constant."""
    one = settle(form, node.inputs[0])
    time = one.frames
    if time.axis == 1 or node.attributes.get_int("training_mode", 0) == 1:
        raise UnsupportedModelError("it normalizes over steps")
    return per_frame(node, form, one, time)


def _reduce(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = settle(form, node.inputs[0])
    time = one.frames
    rank = form.rank(node.inputs[0])
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = form.constant(given)
    if axes is None:
        axes = np.array(node.attributes.get_ints("axes", list(range(rank))))
    gone = {int(axis) % rank for axis in axes.ravel()}
    if time.axis in gone:
        raise UnsupportedModelError("it needs all steps at once")
    keep = node.attributes.get_int("keepdims", 1)
    axis = time.axis if keep else time.axis - sum(one < time.axis for one in gone)
    return per_frame(node, form, one, time.at(axis))


def _arg_reduce(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = settle(form, node.inputs[0])
    time = one.frames
    gone = node.attributes.get_int("axis", 0) % form.rank(node.inputs[0])
    if gone == time.axis:
        raise UnsupportedModelError("it needs all steps at once")
    keep = node.attributes.get_int("keepdims", 1)
    moves = not keep and gone < time.axis
    return per_frame(node, form, one, time.at(time.axis - moves))


def _einsum(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    left, _, right = node.attributes.get_string("equation", "").replace(" ", "").partition("->")
    letters = set()
    for term, old in zip(left.split(","), node.inputs, strict=True):
        if _has_time(form, old):
            if "." in term:
                raise UnsupportedModelError("its equation does not name every axis")
            letters.add(term[form.streamed(old).frames.axis])
    if len(letters) != 1 or not letters <= set(right):
        raise UnsupportedModelError("it sums over steps, or mixes them")
    axis = right.index(letters.pop())
    timed = [i for i, old in enumerate(node.inputs) if _has_time(form, old)]
    if len(timed) == 1:
        one = settle(form, node.inputs[timed[0]])
        return per_frame(node, form, one, one.frames.at(axis), timed[0])
    inputs = [form.streamed(old) for old in node.inputs]
    times = [inputs[i].frames for i in timed]
    if len({(time.rate, time.inner) for time in times}) > 1:
        raise UnsupportedModelError("its inputs have their steps in different places")
    delay = max(0, *(time.delay for time in times))
    for i in timed:
        more = delay - inputs[i].frames.delay
        inputs[i] = form.delayed(inputs[i], more, node.outputs[0].name or "delay")
    (new,) = form.builder.copy(node, values_of(inputs))
    exact = all(time.exact_end for time in times)
    return [Streamed(new, replace(inputs[timed[0]].frames, axis=axis, exact_end=exact))]


def _has_time(form: Form, old: ir.Value | None) -> bool:
    if old is None:
        return False
    one = form.of(old)
    return isinstance(one, Streamed) and one.time is not None


FEATURE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    **dict.fromkeys(("Softmax", "LogSoftmax", "LayerNormalization", "Hardmax"), _along_axis(-1)),
    "RMSNormalization": _along_axis(-1),
    "LpNormalization": _along_axis(-1),
    "TopK": _along_axis(-1),
    "BatchNormalization": _channels_second,
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _within_channels),
    "PRelu": lambda node, form: _several(node, form, form.rank(node.outputs[0])),
    **dict.fromkeys(
        (
            "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
            "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
        ),
        _reduce,
    ),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg_reduce),
    "Einsum": _einsum,
}  # fmt: skip
