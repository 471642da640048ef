"""Nodes that do not see time: they are written as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Streamed

__all__ = ["copied"]


def copied(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a node none of whose inputs has time."""
    inputs = [None if value is None else form.streamed(value) for value in node.inputs]
    given = [one for one in inputs if one is not None]
    outputs = form.builder.copy(node, [None if one is None else one.value for one in inputs])
    moments = [one for one in given if one.moment]
    if not moments:
        return [Streamed(value) for value in outputs]
    latest = max(moments, key=lambda one: one.delay / one.rate)
    return [replace(latest, value=value, dims=()) for value in outputs]
