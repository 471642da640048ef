"""Operators that broadcast their inputs and compute every element by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Dim, Frames, Streamed

__all__ = ["aligned", "elementwise", "evaluated", "met", "spread_rows", "values_of"]


def elementwise(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a node whose inputs broadcast, those with time at the same delay."""
    rank = form.rank(node.outputs[0])
    inputs = aligned(node, form, rank)
    time = met(inputs, rank)
    if time.delay < 0:
        frames = [
            None if one is None else form.constant(old) if one.time is None else one.time.before
            for old, one in zip(node.inputs, inputs, strict=True)
        ]
        array = evaluated(node, frames)
        if array.ndim:
            array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        time = replace(time, before=array)
    (new,) = form.builder.copy(node, values_of(inputs))
    return [Streamed(new, time)]


def values_of(inputs: Sequence[Streamed | None]) -> list[ir.Value | None]:
    """Return the values of inputs in the new graph."""
    return [None if one is None else one.value for one in inputs]


def met(inputs: Sequence[Streamed | None], rank: int) -> Frames:
    """Return the time of a result of `rank` axes, to which inputs at the same delay broadcast."""
    timed = [one for one in inputs if one is not None and one.time is not None]
    time = timed[0].frames
    return replace(
        time,
        axis=time.axis + rank - len(timed[0].dims),
        exact_end=all(one.frames.exact_end for one in timed),
        rows=all(one.frames.rows for one in timed),
    )


def aligned(node: ir.Node, form: Form, rank: int, start: bool = False) -> list[Streamed | None]:
    """Return a node's inputs, those with time brought to the same delay.

    Args:
        node: A node whose inputs broadcast to `rank` axes.
        form: Where it is written.
        rank: The axes of its output.
        start: Whether no frame may lie before the start of the stream.

    Raises:
        UnsupportedModelError: Their times cannot be brought together.
    """
    inputs = [None if old is None else form.streamed(old) for old in node.inputs]
    if any(one is not None and one.moment for one in inputs):
        raise UnsupportedModelError("every step meets a value that is known after the last one")
    timed = {i: one for i, one in enumerate(inputs) if one is not None and one.time is not None}
    if len({one.frames.inner for one in timed.values()}) > 1:
        timed = {index: form.plain(one) for index, one in timed.items()}
    places = {
        (one.frames.axis + rank - len(one.dims), one.frames.rate, one.frames.inner_batch)
        for one in timed.values()
    }
    if len(places) > 1:
        raise UnsupportedModelError("its inputs have their steps in different places")
    delay = max(one.frames.delay for one in timed.values())
    constants = (
        form.constant(old)
        for old, one in zip(node.inputs, inputs, strict=True)
        if one is not None and one.time is None
    )
    if delay < 0 and (start or any(array is None for array in constants)):
        delay = 0
    timed = _with_batch(timed, form, rank)
    name = node.outputs[0].name or "delay"
    for index, one in timed.items():
        inputs[index] = form.delayed(one, delay - one.frames.delay, name)
    return inputs


def _with_batch(timed: dict[int, Streamed], form: Form, rank: int) -> dict[int, Streamed]:
    """Give values of the position alone the batch axis that other inputs have."""
    others = [one for one in timed.values() if not one.frames.rows]
    if not others or len(others) == len(timed):
        return timed
    place = others[0].batch_axis
    if place < 0:
        raise UnsupportedModelError("a number of steps meets a value without batch")
    place += rank - len(others[0].dims)
    return {
        index: spread_rows(one, form, place, rank) if one.frames.rows else one
        for index, one in timed.items()
    }


def spread_rows(one: Streamed, form: Form, place: int, rank: int) -> Streamed:
    """Return a value whose axis of batch · frames elements is two axes: the batch at `place`.

    Its axes are the last of `rank`, and the one at `place` has one element.
    """
    missing = rank - len(one.dims)
    axis = one.frames.axis + missing
    dims = (*(Dim(1),) * missing, *one.dims)
    time = replace(one.frames, axis=axis, rows=False)
    sizes = form.vector(dims, time)
    split = [*sizes[:axis], (1, True, None), *sizes[axis:]]
    builder = form.builder
    value = builder.reshaped(one.value, split, "rows")
    # the batch, at `axis`, goes where the axis of one element is, which goes to the end
    unit = place if place < axis else place + 1
    order = [index for index in range(len(split)) if index not in (axis, unit)]
    order.insert(place, axis)
    order.append(unit)
    if order != sorted(order):
        value = builder.op("Transpose", value, name="rows", perm=order)
    value = builder.op("Squeeze", value, builder.ints(rank), name="rows")
    value.type = one.value.type
    with_batch = tuple(Dim(1, True) if index == place else d for index, d in enumerate(dims))
    return Streamed(value, time, dims=with_batch)


def evaluated(node: ir.Node, inputs: Sequence[NDArray[Any] | None], index: int = 0) -> NDArray[Any]:
    """Return an output of a node for arrays, in float32 as the graph computes it."""
    if any(
        array is not None and array.dtype.kind == "f" and np.isnan(array).any() for array in inputs
    ):
        raise UnsupportedModelError(
            "its first steps are the last ones of the sequence, as `torch.roll` puts them"
        )
    names = ["" if array is None else f"i{place}" for place, array in enumerate(inputs)]
    proto = ir.serde.serialize_node(node)
    alone = onnx.NodeProto()
    alone.CopyFrom(proto)
    alone.ClearField("metadata_props")
    del alone.input[:], alone.output[:]
    alone.input.extend(names)
    alone.output.extend(f"o{place}" for place in range(len(node.outputs)))
    feeds = {name: np.asarray(a) for name, a in zip(names, inputs, strict=True) if a is not None}
    opset = onnx.helper.make_opsetid("", 18)
    graph = onnx.helper.make_graph(
        [alone],
        "one",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds],
        [onnx.helper.make_value_info(f"o{index}", onnx.TypeProto())],
    )
    model = onnx.helper.make_model(graph, opset_imports=[opset])
    (result,) = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(result)
