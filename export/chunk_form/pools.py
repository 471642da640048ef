"""Pools along time: the number of a window of frames, its padding counted or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_form.windows import (
    Window,
    beside_time,
    ints_of,
    pads_of,
    window,
    window_name,
)
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["POOL_RULES"]

_LOWEST = float(np.finfo(np.float32).min)
"""What pads a MaxPool: finite, so that hosts may refuse states that are not."""


@dataclass(frozen=True)
class _Pool:
    """The axes after the channels: of each its kernel, stride and dilation, and all padding."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    rounds_up: bool


def _pool(fill: float) -> Callable[[ir.Node, Form], Sequence[Streamed | None]]:
    """Return the rule of a pool whose padding is a number."""

    def rule(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
        if form.streamed(node.inputs[0]).frames.axis < 2:
            return beside_time(node, form)
        if any(value.name and value.uses() for value in node.outputs[1:]):
            raise UnsupportedModelError("it numbers the steps that it takes")
        return [_written(node, form, fill), *(None for _ in node.outputs[1:])]

    return rule


def _written(node: ir.Node, form: Form, fill: float) -> Streamed:
    one = settle(form, node.inputs[0])
    pool = _pool_of(node, form.rank(node.inputs[0]) - 2)
    place, spatial = one.frames.axis - 2, len(pool.kernel)
    shape = Window(
        pool.kernel[place],
        pool.strides[place],
        pool.dilations[place],
        pool.pads[place],
        pool.pads[place + spatial],
    )
    if pool.rounds_up:
        shape = _rounded_up(form, one, shape)
    frames, made = window(form, one, shape, window_name(node), fill, pool.rounds_up)
    pads = list(pool.pads)
    pads[place] = pads[place + spatial] = 0
    (value, *_) = form.builder.copy(node, [frames.value], pads=pads, auto_pad=None)
    value.type = one.value.type
    counts_padding = node.attributes.get_int("count_include_pad", 0)
    if node.op_type == "AveragePool" and shape.left > 0 and not counts_padding:
        value = _without_padding(form, Streamed(value, made), node.outputs[0], shape)
    return Streamed(value, made)


def _pool_of(node: ir.Node, spatial: int) -> _Pool:
    ones = [1] * spatial
    kernel = ints_of(node, "kernel_shape", ones)
    strides, dilations = ints_of(node, "strides", ones), ints_of(node, "dilations", ones)
    return _Pool(
        kernel,
        strides,
        dilations,
        pads_of(node, spatial, kernel, strides, dilations),
        bool(node.attributes.get_int("ceil_mode", 0)),
    )


def _rounded_up(form: Form, one: Streamed, shape: Window) -> Window:
    """Return a window with as much padding on the right as the last one reads of it."""
    time = form.plain(one).frames
    form.builder.whole(time.rate / shape.stride)
    lengths = [int(time.length(run.sizes.steps)) for run in form.sizes.runs]
    rests = {(length + shape.left + shape.right - shape.span) % shape.stride for length in lengths}
    (rest,) = rests
    more = shape.stride - rest if rest else 0
    # a last window that would start in the padding is not there
    starts_inside = all(
        (length + shape.left + shape.right + more - shape.span) < length + shape.left
        for length in lengths
    )
    return replace(shape, right=shape.right + (more if starts_inside else 0))


def _without_padding(form: Form, one: Streamed, out: ir.Value, shape: Window) -> ir.Value:
    """Return means of the frames that are no padding, for means over whole windows."""
    builder, time = form.builder, one.frames
    one = replace(one, dims=form.dims(out, time))
    name, taps = out.name or "pool", shape.taps
    index = builder.frame_index(time.rate, time.delay)
    padding = builder.op("Mul", index, builder.ints(-shape.stride), name=f"{name}_padding")
    padding = builder.op("Add", padding, builder.ints(shape.left), name=f"{name}_padding")
    padding = builder.op("Max", padding, builder.ints(0), name=f"{name}_padding")
    padding = builder.op("Min", padding, builder.ints(taps - 1), name=f"{name}_padding")
    read = builder.op("Sub", builder.ints(taps), padding, name=f"{name}_taps")
    read = builder.op("Cast", read, name=f"{name}_taps", to=int(ir.DataType.FLOAT))
    whole = builder.constant(np.array(taps, np.float32), "taps")
    factor = builder.placed(builder.op("Div", whole, read, name=f"{name}_factor"), one)
    value = builder.op("Mul", one.value, factor, name=name)
    value.type = one.value.type
    return value


def _global(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = settle(form, node.inputs[0])
    time: Frames = one.frames
    if time.axis >= 2:
        raise UnsupportedModelError("it needs all steps at once")
    return per_frame(node, form, one, time)


POOL_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "AveragePool": _pool(0.0),
    "LpPool": _pool(0.0),
    "MaxPool": _pool(_LOWEST),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global),
}
