"""Products with constant weights, merged with the nodes around them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.shapes import shape_of
from edgernn.export.ir.splice import replace_value

__all__ = ["merge_biases", "premultiply_embeddings"]

_SMALL_TABLE = 8 << 20
"""Bytes up to which a table of products is taken even where it is larger than what it replaces."""


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
        _replace_by_gemm(graph, node, add, bias)


def _replace_by_gemm(graph: ir.Graph, product: ir.Node, add: ir.Node, bias: ir.Value) -> None:
    left, weights = product.inputs
    gemm = ir.Node("", "Gemm", [left, weights, bias], name=add.name)
    graph.insert_before(add, gemm)
    replace_value(add.outputs[0], gemm.outputs[0])
    graph.remove(add, safe=True)
    graph.remove(product, safe=True)


def premultiply_embeddings(graph: ir.Graph) -> None:
    """Look up products instead of multiplying what was looked up, in place.

    E[ids]·W + b is (E·W + b)[ids], where E·W + b is constant, of shape (entries, outputs). Done
    where that table is smaller than what it replaces, or small.
    """
    for gemm in tuple(graph):
        if gemm.op_type != "Gemm" or gemm.domain:
            continue
        gather = gemm.inputs[0].producer() if gemm.inputs[0] is not None else None
        if gather is not None and gather.op_type == "Gather" and not gather.domain:
            _premultiply(graph, gather, gemm)


def _premultiply(graph: ir.Graph, gather: ir.Node, gemm: ir.Node) -> None:
    embedding, ids = gather.inputs
    assert embedding is not None
    assert ids is not None
    table, weights = constant_of(embedding), constant_of(gemm.inputs[1])
    bias = constant_of(gemm.inputs[2]) if len(gemm.inputs) > 2 else np.zeros(1, np.float32)
    unscaled = set(gemm.attributes) <= {"alpha", "beta", "transB"} and all(
        gemm.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta")
    )
    if table is None or weights is None or bias is None or not unscaled:
        return
    if table.ndim != 2 or bias.ndim > 1 or gather.attributes.get_int("axis", 0) != 0:
        return
    if gemm.attributes.get_int("transB", 0):
        weights = weights.T
    size = len(table) * weights.shape[1] * table.itemsize
    embedding_stays = len(gather.outputs[0].uses()) > 1 or len(embedding.uses()) > 1
    replaced = weights.nbytes + (0 if embedding_stays else table.nbytes)
    if size > _SMALL_TABLE and size >= replaced:
        return
    exact = table.astype(np.float64) @ weights.astype(np.float64) + bias.astype(np.float64)
    builder = NodeBuilder(graph, gemm)
    rows = builder.constant(f"{gemm.name}_table", exact.astype(table.dtype))
    replace_value(gemm.outputs[0], builder.op("Gather", rows, ids, name=gemm.name or "rows"))
    graph.remove(gemm, safe=True)
