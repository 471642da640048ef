"""Constant sizes for dynamic axes, for runtimes that take no dynamic shapes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.shapes import refine_shapes
from edgernn.export.ir.symbolic_dims import evaluate_axes

__all__ = ["make_axes_constant"]

# NameFixPass names outputs of LSTM, GRU and RNN that no node reads: OpenCV needs all names.
_CLEANUP = ir.passes.Sequential(
    passes.RemoveUnusedNodesPass(), passes.DeduplicateInitializersPass(), passes.NameFixPass()
)


def make_axes_constant(model: ir.Model, sizes: Mapping[str, int]) -> None:
    """Replace the axes in `sizes` by constants, and fold what depends on them, in place."""
    ports = [*model.graph.inputs, *model.graph.outputs]
    evaluate_axes(model, sizes)
    declared = [port.shape for port in ports]
    refine_shapes(model)
    passes.ShapeInferencePass()(model)
    for port, shape in zip(ports, declared, strict=True):
        port.shape = shape
    _CLEANUP(model)
