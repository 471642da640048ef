"""States with the batch axis in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import BATCH, State
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.passes.graph_ports import first_node, new_input, new_output

__all__ = ["batch_major"]

_PERMUTATION = (1, 0, 2)


def batch_major(models: Sequence[ir.Model], states: Sequence[State]) -> tuple[State, ...]:
    """Make every state (batch, layers, size), where torch has (layers, batch, size); in place.

    A state whose batch axis is in front already, as a cell's (batch, size), stays.

    Args:
        models: The graphs of one model.
        states: Their states.

    Returns:
        The states with their learned initial values moved likewise.

    Raises:
        UnsupportedModelError: A state has no dynamic batch axis.
    """
    moved: list[State] = []
    for state in states:
        (port,) = [v for v in models[0].graph.inputs if v.name == state.input]
        axis = _batch_axis(port)
        moved.append(state if axis == 0 else _moved(state))
        for model in models if axis else ():
            _move(model.graph, state)
    return tuple(moved)


def _batch_axis(port: ir.Value) -> int:
    shape = [str(getattr(size, "value", size)) for size in port.shape or ()]
    axis = shape.index(BATCH) if BATCH in shape else None
    if axis == 0 or (axis == 1 and len(shape) == len(_PERMUTATION)):
        return axis
    raise UnsupportedModelError(
        f"State `{port.name}` is [{', '.join(shape)}]; a batch-major state needs a dynamic axis "
        f"`{BATCH}` in front of or behind the layers. Export it with --state-layout torch."
    )


def _moved(state: State) -> State:
    initial = state.initial
    return replace(state, initial=None if initial is None else initial.transpose(_PERMUTATION))


def _move(graph: ir.Graph, state: State) -> None:
    place, old = next((i, v) for i, v in enumerate(graph.inputs) if v.name == state.input)
    port = new_input(state.input, old, _permuted(old.shape))
    inside = NodeBuilder(graph, first_node(graph)).op(
        "Transpose", port, name=f"{state.name}_layers_first", perm=_PERMUTATION
    )
    inside.shape, inside.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, inside, replace_graph_outputs=True)
    graph.inputs[place] = port
    place, old = next((i, v) for i, v in enumerate(graph.outputs) if v.name == state.output)
    if old is not inside:
        old.name = f"{state.name}_after_layers_first"
    outside = NodeBuilder(graph).op("Transpose", old, name=state.output, perm=_PERMUTATION)
    graph.outputs[place] = new_output(graph, outside, state.output, port.shape, port.type)


def _permuted(shape: ir.Shape | None) -> ir.Shape:
    assert shape is not None
    return ir.Shape([shape[axis] for axis in _PERMUTATION])
