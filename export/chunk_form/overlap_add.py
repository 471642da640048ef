"""Frames that are made of several, each added where it overlaps the others: decoders.

Each input frame makes `span` frames of the result, `stride` apart. Those that a chunk has not
completed are a state:

    ConvTranspose of 4, stride 2        chunk 1    a a a a
                                                       b b b b
    state: the last 2, added to chunk 2                    c c c c
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.slices import shifted
from edgernn.export.chunk_form.windows import beside_time, ints_of, window_name
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["OVERLAP_RULES", "Overlap", "cropped", "overlapping", "partial_size"]


@dataclass(frozen=True)
class Overlap:
    """How frames make others: frame i adds to frames `i · stride` up to `i · stride + span`."""

    span: int
    stride: int

    @property
    def kept(self) -> int:
        """The frames that a chunk does not complete; below 0, what the last one lacks."""
        return self.span - self.stride


def overlapping(form: Form, one: Streamed, overlap: Overlap, name: str) -> tuple[Streamed, Frames]:
    """Return frames that may be added, undefined ones as zeros, and the time of their sums.

    Zeros before the start add nothing: the sums before the start are zeros as well. Frames after
    the end of the model's own may not be added.
    """
    one = form.plain(one)
    if np.any(one.frames.before) or one.frames.tail < 0:
        one = form.started(one, name)
    one = form.defined(one, 0.0)
    time, stride = one.frames, overlap.stride
    made = replace(
        time,
        rate=time.rate * stride,
        delay=time.delay * stride,
        tail=time.tail * stride + overlap.kept,
        exact_end=time.exact_end and overlap.kept <= 0,
    )
    return one, made


def sums_of(
    form: Form, partial: ir.Value, time: Frames, shape: Sequence[int | str], name: str
) -> ir.Value:
    """Return the frames that this chunk completes.

    Args:
        form: Where it is written.
        partial: The sums of this chunk's frames alone, those included that it does not complete.
        time: The time of the result.
        shape: The shape of the state, whose time axis has the frames that are not completed.
        name: What the state is called, besides `_overlap`.
    """
    builder, axis = form.builder, time.axis
    kept = shape[axis]
    assert isinstance(kept, int)
    assert partial.dtype is not None
    state = builder.add_state(f"{name}_overlap", shape, partial.dtype, None)
    count = builder.frame_count(time.rate)
    front, back = [0] * (len(shape) + axis), [0] * (len(shape) - axis - 1)
    if isinstance(count, int):
        pads = builder.ints(*front, count, *back)
    else:
        parts = [builder.ints(*front), count, *([builder.ints(*back)] if back else [])]
        pads = builder.op("Concat", *parts, name="overlap_pads", axis=0)
    earlier = builder.op("Pad", state, pads, name=f"{name}_earlier")
    total = builder.op("Add", partial, earlier, name=f"{name}_sums")
    builder.set_next(state, builder.slice(total, axis, -kept))
    value = builder.slice(total, axis, 0, -kept)
    value.type = partial.type
    return value


def _conv_transpose(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old, out, weight = node.inputs[0], node.outputs[0], node.inputs[1]
    time = form.streamed(old).frames
    if time.axis < 2:
        return beside_time(node, form)
    place, spatial, name = time.axis - 2, form.rank(old) - 2, window_name(node)
    if "output_shape" in node.attributes or node.attributes.get_string("auto_pad") not in (
        None,
        "NOTSET",
    ):
        raise UnsupportedModelError("how much it crops depends on the number of steps")
    stride = ints_of(node, "strides", [1] * spatial)[place]
    dilation = ints_of(node, "dilations", [1] * spatial)[place]
    pads = ints_of(node, "pads", [0] * (2 * spatial))
    more = ints_of(node, "output_padding", [0] * spatial)
    overlap = Overlap((form.shapes(weight)[0][2 + place] - 1) * dilation + 1, stride)
    one, made = overlapping(form, form.streamed(old), overlap, name)
    front, back = pads[place], pads[place + spatial] - more[place]
    pads[place] = pads[place + spatial] = 0
    more[place] = max(0, -overlap.kept)
    (partial,) = form.builder.copy(
        node, [one.value, form.no_time(weight).value], pads=pads, output_padding=more, auto_pad=None
    )
    partial.type = one.value.type
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return [cropped(form, partial, made, out, overlap, (front, back), name, bias)]


def cropped(
    form: Form,
    partial: ir.Value,
    made: Frames,
    out: ir.Value,
    overlap: Overlap,
    crop: tuple[int, int],
    name: str,
    bias: ir.Value | None = None,
) -> Streamed:
    """Return the frames that a chunk completes, without those that the model cuts off.

    Args:
        form: Where it is written.
        partial: The sums of this chunk's frames alone.
        made: The time of the sums, nothing cut off.
        out: What the model makes of them.
        overlap: How they overlap.
        crop: The frames cut off at the front and at the end.
        name: What the state is called.
        bias: What is added to each channel.
    """
    front, back = crop
    time = replace(made, delay=made.delay + front, tail=made.tail - back)
    whole = Streamed(partial, made, dims=form.dims(out, time))
    if overlap.kept > 0:
        shape = whole.shape_of_frames(overlap.kept)
        whole = whole.with_value(sums_of(form, partial, made, shape, name))
    if bias is not None:
        whole = _biased(form, whole, bias)
    return shifted(form, whole, front, back, 1, name)


def _col2im(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write `F.fold` of columns along time, one above the other along the other axis."""
    old, out, name = node.inputs[0], node.outputs[0], node.outputs[0].name or "fold"
    images, block = form.numbers(node.inputs[1]), form.constant(node.inputs[2])
    if images is None or block is None or form.streamed(old).frames.axis != 2:
        raise UnsupportedModelError("its columns are not steps")
    growing = [i for i in range(len(block)) if len({int(image[i]) for image in images}) > 1]
    if len(growing) != 1 or len(block) != 2:
        raise UnsupportedModelError("its columns are not steps")
    (place,) = growing
    other = 1 - place
    strides, dilations = ints_of(node, "strides", [1, 1]), ints_of(node, "dilations", [1, 1])
    pads = ints_of(node, "pads", [0] * 4)
    spans = [(int(size) - 1) * d + 1 for size, d in zip(block, dilations, strict=True)]
    if int(images[0][other]) + pads[other] + pads[other + 2] - spans[other] >= strides[other]:
        raise UnsupportedModelError("it has several columns for each step")
    overlap = Overlap(spans[place], strides[place])
    lengths = [int(form.streamed(old).frames.length(run.sizes.steps)) for run in form.sizes.runs]
    backs = {
        (length - 1) * overlap.stride + overlap.span - pads[place] - int(image[place])
        for length, image in zip(lengths, images, strict=True)
    }
    if len(backs) != 1:
        raise UnsupportedModelError("how much it crops changes")
    front, back = pads[place], backs.pop()
    one, made = overlapping(form, form.streamed(old), overlap, name)
    made = made.at(2 + place)
    pads[place] = pads[place + 2] = 0
    sizes = [form.builder.ints(int(images[0][other]))] * 2
    sizes[place] = partial_size(form, made, overlap)
    image = form.builder.op("Concat", *sizes, name=f"{name}_image", axis=0)
    (partial,) = form.builder.copy(
        node, [one.value, image, form.no_time(node.inputs[2]).value], pads=pads
    )
    partial.type = one.value.type
    return [cropped(form, partial, made, out, overlap, (front, back), name)]


def partial_size(form: Form, made: Frames, overlap: Overlap) -> ir.Value:
    """Return (1,) int64: the frames that a chunk adds to, those included that it leaves open."""
    builder, count, more = form.builder, form.builder.frame_count(made.rate), max(0, overlap.kept)
    if isinstance(count, int):
        return builder.ints(count + more)
    return builder.op("Add", count, builder.ints(more), name="open_frames") if more else count


def _biased(form: Form, one: Streamed, bias: ir.Value) -> Streamed:
    """Return a value with a number added to each channel."""
    array = form.constant(bias)
    if array is None:
        raise UnsupportedModelError("its bias is no constant")
    column = np.asarray(array).reshape(1, -1, *(1,) * (len(one.dims) - 2))
    before = None if one.frames.before is None else one.frames.before + column
    builder = form.builder
    value = builder.op("Add", one.value, builder.constant(column, "bias"), name="biased")
    return one.with_value(value, before=before)


OVERLAP_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "ConvTranspose": _conv_transpose,
    "Col2Im": _col2im,
}
