"""The ends of a graph: new values in the place of its inputs and outputs."""

from __future__ import annotations

import onnx_ir as ir

from edgernn.export.ir.node_builder import NodeBuilder

__all__ = ["first_node", "new_input", "new_output"]


def new_input(
    name: str, like: ir.Value, shape: ir.Shape | None = None, dtype: ir.DataType | None = None
) -> ir.Value:
    """Return a value for a graph's inputs, of the shape and dtype of `like` where none is given."""
    return ir.Value(
        name=name,
        shape=like.shape if shape is None else shape,
        type=like.type if dtype is None else ir.TensorType(dtype),
    )


def new_output(
    graph: ir.Graph,
    value: ir.Value,
    name: str,
    shape: ir.Shape | None,
    dtype: ir.TypeProtocol | None,
) -> ir.Value:
    """Return `value` under `name` for the graph's outputs; a copy where it is a port already."""
    if value.is_graph_output() or value.is_graph_input() or value.is_initializer():
        value = NodeBuilder(graph).op("Identity", value, name=name)
    value.name, value.shape, value.type = name, shape, dtype
    return value


def first_node(graph: ir.Graph) -> ir.Node | None:
    """Return the node that new ones which read inputs only stand in front of."""
    return next(iter(graph), None)
