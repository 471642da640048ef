"""Products with constant weights, merged with the nodes around them or separated."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.dataflow import descendants
from edgernn.export.ir.node_builder import NodeBuilder, constant_of, producer_of, replace_value
from edgernn.export.ir.shapes import shape_of

__all__ = ["merge_biases", "separate_products"]


def merge_biases(graph: ir.Graph) -> None:
    """Write each matrix product that only has a bias added to it as one Gemm, in place."""
    for node in tuple(graph):
        if node.op_type != "MatMul" or node.domain or len(shape_of(node.inputs[0]) or ()) != 2:
            continue
        uses = node.outputs[0].uses()
        if len(uses) != 1 or node.outputs[0].is_graph_output():
            continue
        ((add, index),) = uses
        bias = add.inputs[1 - index] if add.op_type == "Add" and not add.domain else None
        weights = constant_of(node.inputs[1])
        if bias is None or constant_of(bias) is None or weights is None or weights.ndim != 2:
            continue
        if shape_of(bias) not in {weights.shape[1:], (1, weights.shape[1])}:
            continue
        gemm = ir.Node("", "Gemm", [*node.inputs, bias], name=add.name)
        graph.insert_before(add, gemm)
        replace_value(add.outputs[0], gemm.outputs[0])
        graph.remove([node, add], safe=True)


def separate_products(graph: ir.Graph, states: Collection[str]) -> None:
    """Multiply data and states apart, in place, where one product takes both concatenated.

    W·[x, h] + b becomes Wh·h + (Wx·x + b), so that the inner product can run on all steps at once.
    `states` are the names of the state inputs.
    """
    stateful = descendants(graph, [port for port in graph.inputs if port.name in states])
    for product in tuple(graph):
        parts = _parts(product)
        of_states = [part for part in parts if part[0] in stateful]
        of_data = [part for part in parts if part[0] not in stateful]
        if of_states and of_data:
            _separate(graph, product, of_data, of_states)


_Part = tuple[ir.Value, NDArray[Any]]
"""A value, and the weights that it is multiplied by, (features, outputs)."""


def _parts(product: ir.Node) -> list[_Part]:
    """Return the parts of the concatenation that `product` multiplies, or none."""
    if product.op_type not in ("Gemm", "MatMul") or not set(product.attributes) <= {"transB"}:
        return []
    concat, weights = producer_of(product.inputs[0], "Concat"), constant_of(product.inputs[1])
    if concat is None or weights is None or weights.ndim != 2:
        return []
    axis = concat.attributes.get_int("axis")
    if len(shape_of(product.inputs[0]) or ()) != 2 or axis not in (1, -1):
        return []
    if product.attributes.get_int("transB", 0):
        weights = weights.T
    values = [value for value in concat.inputs if value is not None]
    widths = [size for value in values if isinstance(size := (shape_of(value) or (None,))[-1], int)]
    if len(widths) != len(values):
        return []
    return list(zip(values, np.split(weights, np.cumsum(widths)[:-1]), strict=True))


def _separate(
    graph: ir.Graph, product: ir.Node, of_data: Sequence[_Part], of_states: Sequence[_Part]
) -> None:
    """Write one product of several parts as the product of the data plus that of the states."""
    old = product.outputs[0]
    builder = NodeBuilder(graph, product, f"{old.name}_")
    total = product.inputs[2] if len(product.inputs) > 2 else None
    for name, parts in (("x", of_data), ("h", of_states)):
        operand = parts[0][0]
        if len(parts) > 1:
            values = [value for value, _ in parts]
            operand = builder.op("Concat", *values, name=f"{name}_all", axis=1)
        own = builder.constant(f"{name}_weights", np.concatenate([weights for _, weights in parts]))
        summand = [] if total is None else [total]
        total = builder.op("Gemm", operand, own, *summand, name=f"{name}_sum")
        total.type, total.shape = old.type, old.shape
    assert total is not None
    replace_value(old, total)
    graph.remove(product, safe=True)
