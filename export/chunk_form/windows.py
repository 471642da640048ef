"""Convolutions and pools along time: each frame of the result is made of a window of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.features import per_frame
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.size_builder import END
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = [
    "WINDOW_RULES",
    "Window",
    "beside_time",
    "ints_of",
    "is_input",
    "pads_of",
    "window",
    "window_name",
]


@dataclass(frozen=True)
class Window:
    """Which frames make one: those at `j · stride - left + k · dilation`, for k below `taps`.

    `left` and `right` are padding, below 0 frames that are cut off.
    """

    taps: int
    stride: int = 1
    dilation: int = 1
    left: int = 0
    right: int = 0

    @property
    def span(self) -> int:
        """The frames from the first to the last of a window."""
        return (self.taps - 1) * self.dilation + 1


def window(
    form: Form,
    one: Streamed,
    shape: Window,
    name: str,
    fill: float = 0.0,
    rounds_up: bool = False,
) -> tuple[Streamed, Frames]:
    """Return the frames that the windows of this chunk read, and the time of what they make.

    An operator without padding along time, applied to these frames, makes the frames of the chunk.

    Args:
        form: Where it is written.
        one: What the windows read.
        shape: Which frames make one.
        name: What the context is called.
        fill: The number of the padding.
        rounds_up: Whether the operator would make one more frame of a part of a window.
    """
    one = form.plain(one)
    assert one.value.dtype is not None
    number = np.asarray(fill, one.value.dtype.numpy())
    time = one.frames
    differs = time.before is not None and not np.array_equal(time.before, number)
    if (shape.left > 0 and differs) or (shape.right > 0 and time.tail < 0):
        one = form.started(one, name)
    if shape.left > 0:
        one = form.defined(one, fill)
    time = one.frames
    stride, span = shape.stride, shape.span
    form.builder.whole(time.rate / stride)
    # frame o of the result, of a stream, is frame o - delay of the model's own, whose window ends
    # at (o - delay) · stride - left + span - 1 + time.delay: not after (o + 1) · stride - 1
    start = time.delay - shape.left
    delay = max(0, -(-(start + span - stride) // stride))
    tails = {(run.sizes.steps, _count(time, run.sizes.steps, shape)) for run in form.sizes.runs}
    rate = time.rate / stride
    lacking = max(int(rate * steps) - delay - count for steps, count in tails)
    delay += max(0, lacking)
    (tail,) = {count - int(rate * steps) + delay for steps, count in tails}
    offset = start - delay * stride  # of a window's first frame, from the start of its stride
    before = max(0, -offset)
    filled = number if time.before is None else time.before
    value = one.value
    if before:
        known = one.with_time(before=filled if start < 0 else None, delay=start)
        value = form.builder.extended(known, before, name)
    first = max(0, offset)
    surplus = before - first + stride - span
    surplus = surplus if surplus >= stride or rounds_up else 0
    if first or surplus:
        value = form.builder.slice(value, time.axis, first, -surplus if surplus else END)
    exact = time.exact_end
    if shape.right > 0:
        exact = is_input(one) and time.tail == 0 and fill == 0
    made = replace(
        time,
        rate=rate,
        delay=delay,
        tail=tail,
        before=None,
        exact_end=exact,
    )
    return one.with_value(value), made


def is_input(one: Streamed) -> bool:
    """Return whether a value is an input of the graph, or one that was moved."""
    value = one.value
    while (node := value.producer()) is not None:
        first = node.inputs[0]
        if first is None or node.op_type not in _MOVES:
            return False
        value = first
    return value.is_graph_input()


_MOVES = ("Transpose", "Unsqueeze", "Squeeze", "Reshape", "Identity")


def _count(time: Frames, steps: int, shape: Window) -> int:
    length = int(time.length(steps)) + shape.left + shape.right
    return (length - shape.span) // shape.stride + 1


def window_name(node: ir.Node) -> str:
    """Return what the context of a node is called: its module, or its operator."""
    for value in node.inputs[1:]:
        if value is not None and (value.name or "").endswith(".weight"):
            path = (value.name or "").removesuffix(".weight").removeprefix("module.")
            return path.replace(".", "_")
    return node.op_type.lower()


def _conv(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old = node.inputs[0]
    one = form.streamed(old)
    time = one.frames
    rank = form.rank(old)
    if time.axis < 2:
        return beside_time(node, form)
    kernel = form.shapes(node.inputs[1])[0][2:]
    place, spatial = time.axis - 2, rank - 2
    strides = ints_of(node, "strides", [1] * spatial)
    dilations = ints_of(node, "dilations", [1] * spatial)
    pads = pads_of(node, spatial, kernel, strides, dilations)
    shape = Window(
        kernel[place], strides[place], dilations[place], pads[place], pads[place + spatial]
    )
    frames, made = window(form, one, shape, window_name(node))
    pads[place] = pads[place + spatial] = 0
    inputs = [frames.value, *(form.no_time(value).value for value in node.inputs[1:])]
    (new,) = form.builder.copy(node, inputs, pads=pads, auto_pad=None)
    return [Streamed(new, made)]


def beside_time(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a convolution or pool over other axes, with time among its batch."""
    one = settle(form, node.inputs[0])
    if one.frames.axis != 0:
        raise UnsupportedModelError("time is the axis of its channels")
    return per_frame(node, form, one, one.frames)


def pads_of(
    node: ir.Node,
    spatial: int,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """Return the padding of a convolution or pool: the front of each axis, then the back."""
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    if auto == "VALID":
        return [0] * (2 * spatial)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if any(stride != 1 for stride in strides):
            raise UnsupportedModelError("how much it pads depends on the number of steps")
        totals = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        return [*small, *large] if auto == "SAME_UPPER" else [*large, *small]
    return ints_of(node, "pads", [0] * (2 * spatial))


def ints_of(node: ir.Node, name: str, default: list[int]) -> list[int]:
    """Return the integers of an attribute."""
    return list(node.attributes.get_ints(name, default))


WINDOW_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Conv": _conv,
}
