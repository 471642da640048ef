"""More frames of each, or fewer: upsampling along time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.moves import settle
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed

__all__ = ["RESIZE_RULES"]

_FIRST_OF_EACH = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("half_pixel_symmetric", "round_prefer_floor"),
    ("half_pixel_symmetric", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
}
"""How positions are computed and rounded where an integer factor repeats every frame."""


def _resize(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    old, out = node.inputs[0], node.outputs[0]
    one = form.plain(settle(form, old))
    time, builder, rank = one.frames, form.builder, form.rank(old)
    mode = node.attributes.get_string("mode", "nearest")
    rounding = (
        node.attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        node.attributes.get_string("nearest_mode", "round_prefer_floor"),
    )
    if "axes" in node.attributes:
        raise UnsupportedModelError("it names the axes that it resizes")
    ratios = {
        axis: {(after[axis], before[axis]) for before, after in _sizes(form, old, out)}
        for axis in range(rank)
    }
    factors = {after // before for after, before in ratios[time.axis] if after % before == 0}
    whole = all(after % before == 0 for after, before in ratios[time.axis])
    if len(factors) != 1 or not whole:
        raise UnsupportedModelError("it resizes time by no integer")
    (factor,) = factors
    if factor > 1 and (mode != "nearest" or rounding not in _FIRST_OF_EACH):
        raise UnsupportedModelError(
            f"it resizes time in mode `{mode}`, which reads the steps on both sides"
        )
    scales = form.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    sizes = []
    for axis in range(rank):
        if axis == time.axis:
            sizes.append(float(factor))
        elif scales is not None and scales.size == rank:
            sizes.append(float(scales[axis]))
        else:
            quotients = {after / before for after, before in ratios[axis]}
            if len(quotients) != 1:
                raise UnsupportedModelError("how it resizes another axis changes")
            sizes.append(quotients.pop())
    if time.tail < 0 or time.delay < 0:
        one = form.started(one, out.name or "resize")
        time = one.frames
    value = builder.copy(node, [one.value, None, builder.floats(*sizes)])[0]
    made = replace(
        time, rate=time.rate * factor, delay=time.delay * factor, tail=time.tail * factor
    )
    return [Streamed(value, made)]


def _sizes(
    form: Form, old: ir.Value | None, out: ir.Value
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return list(zip(form.shapes(old), form.shapes(out), strict=True))


RESIZE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "Resize": _resize,
    "Upsample": _resize,
}
