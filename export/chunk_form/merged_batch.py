"""Which sequence an element belongs to, where the batch and another axis are one axis.

(batch, 33, frames, 8) → Reshape → (batch*33, frames, 8): 33 elements within one sequence
(33, batch, frames, 8) → Reshape → (33*batch, frames, 8): 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Dim, Frames, Streamed

__all__ = ["with_sequences"]


def with_sequences(
    node: ir.Node, form: Form, time: Frames | None, dims: Sequence[Dim]
) -> tuple[Dim, ...]:
    """Return the sizes of a node's output with `within` of its merged axis, where that is known."""
    axes = [axis for axis, dim in enumerate(dims) if dim.batch and not dim.within]
    if len(axes) != 1 or (time is not None and axes[0] == time.axis):
        return tuple(dims)
    (axis,) = axes
    if node.op_type in ("Reshape", "Flatten"):
        within = _after_reshape(node, form, axis)
    else:
        inputs = [form.of(value) for value in node.inputs if value is not None]
        known = [
            dim.within
            for one in inputs
            if isinstance(one, Streamed)
            for dim in one.dims
            if dim.batch and dim.factor == dims[axis].factor
        ]
        within = known[0] if len(set(known)) == 1 else 0
    found = list(dims)
    found[axis] = replace(dims[axis], within=within)
    return tuple(found)


def _after_reshape(node: ir.Node, form: Form, axis: int) -> int:
    """Return the elements of an axis within one sequence after a reshape; 0 where not known."""
    old, out = node.inputs[0], node.outputs[0]
    one = form.streamed(old)
    if one.batch_axis < 0:
        return 0
    found = set()
    for run, before, after in zip(form.sizes.runs, form.shapes(old), form.shapes(out), strict=True):
        within = one.dims[one.batch_axis].within
        if one.time is not None and one.time.axis == one.batch_axis:
            within = int(one.time.length(run.sizes.steps)) * one.time.inner
            if one.time.inner_batch:
                within = 1 if one.time.inner == 1 else 0
        behind = math.prod(after[axis + 1 :])
        stride = within * math.prod(before[one.batch_axis + 1 :])
        found.add(stride // behind if stride % behind == 0 else 0)
    within = found.pop() if len(found) == 1 else 0
    factor = form.shapes(out)[0][axis] // form.sizes.runs[0].sizes.batch
    return within if within and factor % within == 0 else 0
