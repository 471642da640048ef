"""One step through recurrent operators instead of primitive ones, without moves of axes.

portable    x (batch, 3) → Gemm → Gemm → Split → Sigmoid, Tanh → … → y (batch, 5)
form        x (1, batch, 3) → LSTM → y (1, 1, batch, 5)

ONNX Runtime takes some time for each node, which is most of the time of a step of a small layer.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.recurrent_operators import recurrent_nodes
from edgernn.export.ir.shapes import shape_of
from edgernn.export.step.at_one_step import at_one_step, gemm_form
from edgernn.export.step.unit_axis_moves import is_unit_axis_move

__all__ = ["step_operators"]


def step_operators(
    sequence: ir.Model, names: Collection[str], states: Collection[str]
) -> ir.Model | None:
    """Return one step of a sequence graph with its recurrent operators.

    Args:
        sequence: The graph; it is not changed.
        names: The recurrent nodes to keep; others are written in primitive operators.
        states: The names of the ports of states, which keep their shapes.

    Returns:
        A new model; a data port has additional axes of size 1 where its value has them. None where
        no operator is left.

    Raises:
        UnsupportedModelError: The graph has no step.
    """
    model = gemm_form(at_one_step(sequence), keep=names)
    if not recurrent_nodes(model.graph):
        return None
    _read_final_states(model.graph)
    _drop_moves_at_inputs(model.graph, states)
    _drop_moves_at_outputs(model.graph, states)
    passes.RemoveUnusedNodesPass()(model)
    return model


def _read_final_states(graph: ir.Graph) -> None:
    """Read the final state where a layer's only output is read without its axis of directions."""
    for node in recurrent_nodes(graph):
        y, h = node.outputs[0], node.outputs[1]
        for move in [use.node for use in y.uses()]:
            value = move.outputs[0]
            if not is_unit_axis_move(move) or shape_of(value) != shape_of(h):
                continue
            if value not in graph.outputs:
                ir.convenience.replace_all_uses_with(value, h)


def _drop_moves_at_inputs(graph: ir.Graph, states: Collection[str]) -> None:
    for port in graph.inputs:
        nodes = [use.node for use in port.uses()]
        if port.name in states or len(nodes) != 1 or not is_unit_axis_move(nodes[0]):
            continue
        value = nodes[0].outputs[0]
        if value not in graph.outputs and _has_more_axes(value, port):
            port.shape = value.shape
            ir.convenience.replace_all_uses_with(value, port)
            graph.remove(nodes[0], safe=True)


def _drop_moves_at_outputs(graph: ir.Graph, states: Collection[str]) -> None:
    for index, port in enumerate(tuple(graph.outputs)):
        move = port.producer()
        if port.name in states or move is None or port.uses() or not is_unit_axis_move(move):
            continue
        value = move.inputs[0]
        assert value is not None
        is_port = value in graph.outputs or value.is_graph_input()
        if not is_port and _has_more_axes(value, port):
            name, port.name = port.name, None
            value.name = name
            graph.outputs[index] = value
            graph.remove(move, safe=True)


def _has_more_axes(value: ir.Value, port: ir.Value) -> bool:
    return len(shape_of(value) or ()) > len(shape_of(port) or ())
