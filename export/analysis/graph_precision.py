"""The precision of finished graphs, by what their weights are stored as.

Bytes are a weight where an operator multiplies by them, or where scales make floats of them:

    W → MatMulInteger                               int8
    W → DequantizeLinear                            int8
    W → Gather → Cast → Mul(scales of the rows)     int8
    W → MatMulNBits, GatherBlockQuantized           int4
    W → … → Cast → Sub(zeros) → Mul(scales)         int4

A model in float32 may have other constants in bytes, such as a table of features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgernn.export.analysis.graph_patterns import all_nodes
from edgernn.export.ir.node_builder import constant_of, producer_of

__all__ = ["precision_of", "precision_of_files"]

_IN_BYTES = frozenset(("ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv")) | {
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
}
"""Operators that read weights in int8."""

_IN_BLOCKS = frozenset(("GatherBlockQuantized", "MatMulNBits"))
"""Operators that read weights in blocks, which only int4 has."""


def precision_of_files(files: Iterable[Path]) -> str:
    """Return the precision of the graphs in files; see `precision_of`."""
    return precision_of(map(ir.load, files))


def precision_of(models: Iterable[ir.Model]) -> str:
    """Return the precision of graphs: `float32`, `float16`, `int8` or `int4`."""
    models = list(models)
    quantized = {found for model in models for node in all_nodes(model) for found in _weights(node)}
    if quantized:
        return min(quantized)
    graphs = [graph for model in models for graph in model.graphs()]
    values = [value for graph in graphs for value in (*graph.inputs, *graph.initializers.values())]
    is_half = any(value.dtype == ir.DataType.FLOAT16 for value in values)
    return "float16" if is_half else "float32"


def _weights(node: ir.Node) -> Iterator[str]:
    """Yield the precision of the weights that a node reads or makes floats of."""
    if node.op_type in _IN_BLOCKS:
        yield "int4"
    elif node.op_type in _IN_BYTES and any(map(_is_matrix, node.inputs)):
        yield "int8"
    elif node.op_type == "Mul" and not node.domain:
        if _is_unpacked(node):
            yield "int4"
        elif any(map(_is_table, node.inputs, reversed(node.inputs))):
            yield "int8"


def _is_matrix(value: ir.Value | None) -> bool:
    """Return whether a value is a constant in bytes, of two axes or more."""
    constant = constant_of(value)
    return constant is not None and constant.ndim > 1 and constant.dtype in (np.int8, np.uint8)


def _is_table(rows: ir.Value | None, scales: ir.Value | None) -> bool:
    """Return whether rows of a table in bytes are multiplied by scales that are looked up too."""
    cast, unsqueeze = producer_of(rows, "Cast"), producer_of(scales, "Unsqueeze")
    if cast is None or unsqueeze is None:
        return False
    integers, floats = (producer_of(one.inputs[0], "Gather") for one in (cast, unsqueeze))
    return (
        integers is not None
        and floats is not None
        and integers.inputs[1] is floats.inputs[1]
        and _is_matrix(integers.inputs[0])
        and constant_of(floats.inputs[0]) is not None
    )


def _is_unpacked(multiply: ir.Node) -> bool:
    """Return whether zero points and scales, one for each block, make floats of bytes."""
    subtract = producer_of(multiply.inputs[0], "Sub")
    cast = producer_of(subtract.inputs[0], "Cast") if subtract is not None else None
    if subtract is None or cast is None:
        return False
    zeros, scales, integers = map(
        constant_of, (subtract.inputs[1], multiply.inputs[1], _source(cast.inputs[0]))
    )
    if zeros is None or scales is None or integers is None or integers.ndim != 3:
        return False
    return integers.dtype == np.uint8 and zeros.shape == scales.shape == (*integers.shape[:2], 1)


def _source(value: ir.Value | None) -> ir.Value | None:
    """Return what the bytes of a value are made from."""
    node = None if value is None else value.producer()
    if node is None or node.op_type not in ("BitShift", "Concat", "Reshape", "Unsqueeze"):
        return value
    return _source(node.inputs[0])
