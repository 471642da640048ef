"""Weights in int8, and integer products that give the same on every CPU.

step graph        h → QuantizeLinear → MatMulInteger(R) → Cast → Mul → Add → …
sequence graph    all x → QuantizeLinear → MatMulInteger(W) → …    before the Scan
                  the nodes of the step graph                      in the body of the Scan
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import State
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import LSTM, OPERATORS, Input, is_recurrent, kind_of
from edgernn.export.quantize.constant_products import (
    ConstantProduct,
    products_by_input,
    weights_key,
)
from edgernn.export.quantize.int8_products import MOST_INPUTS, Int8Products
from edgernn.export.quantize.int8_tables import why_not_int8, write_tables
from edgernn.export.quantize.layer_forms import read_dequantized, write_scans
from edgernn.export.quantize.unit_range import UnitRange
from edgernn.export.quantize.weight_records import WeightRecord

__all__ = ["to_int8"]

_WEIGHT_INPUTS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Einsum", "Gemm", "MatMul"), (0, 1)),
    **dict.fromkeys(("Conv", "ConvTranspose"), (1,)),
    **dict.fromkeys(OPERATORS, (Input.W, Input.R)),
    "Gather": (0,),
}
"""Operators that read weights of two or more axes, and the inputs that are those weights."""

_REASONS: Mapping[str, str] = {
    "Conv": "convolutions are not quantized",
    "ConvTranspose": "convolutions are not quantized",
    "Einsum": "it has no integer form in ONNX",
}
_MOST_FINE = 1 << 17
"""The most weights of an LSTM whose input is rounded twice: of more, that takes too long."""

_OTHER_REASON = "it is no product of data with finite weights as they are"


def to_int8(
    models: Mapping[str, ir.Model], states: Collection[State]
) -> dict[str, list[WeightRecord]]:
    """Write the weights of products and recurrent layers as int8, in place.

    Every output of a product, and every row of W and R, has a scale of its own.

    1. A layer of the sequence graph whose recurrent weights are many becomes products and a Scan;
       another one reads int8 weights through DequantizeLinear and computes in float32.
    2. A product with constant weights (MatMul, Gemm) is computed in integers. Its input has one
       scale for each row or a constant one, so that no sequence and no step depends on others of
       the same call. Its weights are such that no CPU saturates.

    3. The table of an embedding whose rows are only multiplied is int8, with a scale for each row.

    Kernels of convolutions, biases and everything else stay float32.

    Args:
        models: `sequence` and, where there is one, `step` → the graph in float32.
        states: Their states.

    Returns:
        For each graph, what became of each weight.
    """
    recurrent = {key for model in models.values() for key in _layer_keys(model)}
    fine = {key for model in models.values() for key in _lstm_inputs(model)}
    for model in models.values():
        write_scans(model)
        recurrent |= set(_body_keys(model))
    return {kind: _quantize(model, states, recurrent, fine) for kind, model in models.items()}


def _quantize(
    model: ir.Model,
    states: Collection[State],
    recurrent: Collection[bytes],
    fine: Collection[bytes],
) -> list[WeightRecord]:
    records = list(write_tables(model))
    unit_range = UnitRange(model, states)
    writer = Int8Products(unit_range.__contains__, recurrent, fine)
    for products in list(products_by_input(model.graph)):
        records += _written(writer, products)
    for node in list(model.graph.all_nodes()):
        if is_recurrent(node):
            records += read_dequantized(node)
    return [*records, *_float32_weights(model)]


def _written(writer: Int8Products, products: list[ConstantProduct]) -> Iterator[WeightRecord]:
    """Write products of one input, those whose weights or data have other integers apart."""
    small = [one for one in products if len(one.weights) <= MOST_INPUTS]
    kinds = [writer.kind_of(one) for one in small]
    for kind in dict.fromkeys(kinds):
        group = [one for one, own in zip(small, kinds, strict=True) if own == kind]
        operators = [one.node.op_type for one in group]
        if group:
            graph = group[0].node.graph
            assert isinstance(graph, ir.Graph)
            writer.write(graph, group)
        for one, operator in zip(group, operators, strict=True):
            yield WeightRecord(one.name, operator, one.weights.shape, "int8")


def _layer_keys(model: ir.Model) -> Iterator[bytes]:
    """Yield keys of the recurrent weights of layers, as the products of a step have them."""
    for node in model.graph.all_nodes():
        weights = constant_of(node.inputs[Input.R]) if is_recurrent(node) else None
        if weights is not None:
            size = weights.shape[1] - weights.shape[1] // len(kind_of(node).onnx_gates)
            for rows in weights:
                yield from (weights_key(part.T) for part in (rows, rows[:size], rows[size:]))


def _lstm_inputs(model: ir.Model) -> Iterator[bytes]:
    """Yield keys of the weights of small LSTMs for their input, as products of a step have them."""
    for node in model.graph.all_nodes():
        weights = constant_of(node.inputs[Input.W]) if node.op_type == LSTM.operator else None
        if weights is not None and weights[0].size <= _MOST_FINE:
            yield from (weights_key(rows.T) for rows in weights)


def _body_keys(model: ir.Model) -> Iterator[bytes]:
    """Yield keys of the weights that the bodies of loops multiply by."""
    for products in products_by_input(model.graph):
        if products[0].node.graph is not model.graph:
            yield from (weights_key(one.weights) for one in products)


def _float32_weights(model: ir.Model) -> Iterator[WeightRecord]:
    """Yield the float32 matrices that operators read as weights."""
    for node in model.graph.all_nodes():
        for place in _WEIGHT_INPUTS.get(node.op_type, ()):
            value = node.inputs[place]
            weights = constant_of(value)
            if value is None or weights is None or weights.ndim < 2:
                continue
            if weights.dtype == np.float32:
                record = value.name or "", node.op_type, tuple(weights.shape), "float32"
                yield WeightRecord(*record, _reason(node, weights))


def _reason(node: ir.Node, weights: NDArray[np.float32]) -> str:
    operator = node.op_type
    if operator == "Gather":
        return why_not_int8(node, weights)
    if not np.isfinite(weights).all():
        return "not all of them are finite"
    if operator in ("Gemm", "MatMul") and len(weights) > MOST_INPUTS:
        return f"sums of more than {MOST_INPUTS:,} products do not fit into 32 bits"
    return _REASONS.get(operator, _OTHER_REASON)
