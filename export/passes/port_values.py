"""The values of a graph that passes replace: ports, and outputs of nodes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgernn.contract import BATCH
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.shapes import known_shape

__all__ = ["batch_axis", "describe_state", "new_output", "position_of", "replace_node"]


def position_of(ports: Sequence[ir.Value], name: str) -> int:
    """Return the index of the port with a name among a graph's inputs or outputs."""
    return [port.name for port in ports].index(name)


def batch_axis(port: ir.Value) -> int | None:
    """Return the axis of a port that is the dynamic batch, or None where there is none."""
    shape = known_shape(port)
    return shape.index(BATCH) if BATCH in shape else None


def describe_state(port: ir.Value) -> str:
    """Return the beginning of a message about a state: its name and its shape."""
    return f"State `{port.name}` is [{', '.join(map(str, known_shape(port)))}]"


def new_output(
    graph: ir.Graph,
    value: ir.Value,
    name: str,
    shape: ir.Shape | None,
    dtype: ir.TypeProtocol | None,
) -> ir.Value:
    """Return `value` renamed as a graph output, or a copy of it if it is already a port."""
    if value.is_graph_output() or value.is_graph_input() or value.is_initializer():
        value = NodeBuilder(graph).op("Identity", value, name=name)
    value.name, value.shape, value.type = name, shape, dtype
    return value


def replace_node(node: ir.Node, value: ir.Value) -> None:
    """Replace the only output of `node` by `value`, in place; a graph output keeps its name."""
    (old,), graph = node.outputs, node.graph
    assert graph is not None
    value.shape, value.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    if value.is_graph_output():
        value.name, old.name = old.name, value.name
    graph.remove(node, safe=True)
