"""Axes that are numbers, for runtimes that take no dynamic ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.shapes import refine_shapes

__all__ = ["constant_axes"]

# NameFixPass is for outputs of LSTM, GRU and RNN that nobody reads: OpenCV wants a name for each.
_TIDY: tuple[Callable[[ir.Model], object], ...] = (
    passes.RemoveUnusedNodesPass(),
    passes.DeduplicateInitializersPass(),
    passes.NameFixPass(),
)


def constant_axes(model: ir.Model, sizes: Mapping[str, int]) -> None:
    """Make dynamic axes of a graph constant, and what is computed from them, in place.

    Args:
        model: A graph.
        sizes: Name of an axis → its size; names that the graph does not have change nothing.
    """
    ports = [*model.graph.inputs, *model.graph.outputs]
    for value in _values(model):
        if value.shape is not None:
            value.shape = value.shape.evaluate(sizes)
    declared = [port.shape for port in ports]
    refine_shapes(model)
    passes.ShapeInferencePass()(model)
    for port, shape in zip(ports, declared, strict=True):
        port.shape = shape
    for tidy in _TIDY:
        tidy(model)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """Yield every value with a shape, those inside Scan bodies too."""
    for graph in model.graphs():
        yield from graph.inputs
        for node in graph:
            yield from node.outputs
