"""States with the batch axis first: (batch, layers, size) instead of torch's (layers, batch, size).

Inside the graph the states keep torch's layout, between two Transposes:

    h_in (batch, layers, size) → Transpose → … → Transpose → h_out (batch, layers, size)

A state with several rows for each sequence, (layers, batch, rows, size) or (layers, rows, batch,
size), becomes (batch, layers, rows, size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import BATCH, State
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.shapes import known_shape
from edgernn.export.passes.port_values import batch_axis, describe_state, new_output, position_of
from edgernn.option_names import option

__all__ = ["make_states_batch_major"]


def make_states_batch_major(
    models: Sequence[ir.Model], states: Sequence[State]
) -> tuple[State, ...]:
    """Write every state with the batch first, (batch, layers, size), in place.

    A state whose first axis is the batch, such as a cell's (batch, size), stays as it is.

    Returns:
        The states, with learned initial values transposed as well.

    Raises:
        UnsupportedModelError: A state has no dynamic batch axis.
    """
    return tuple(_make_batch_major(models, state) for state in states)


def _make_batch_major(models: Sequence[ir.Model], state: State) -> State:
    inputs = models[0].graph.inputs
    port = inputs[position_of(inputs, state.input)]
    axis = batch_axis(port)
    if axis == 0:
        return state
    if axis is None:
        raise UnsupportedModelError(
            f"{describe_state(port)}; a batch-major state needs a dynamic axis `{BATCH}` before or "
            f"after the layers. Export it with {option('state_layout', 'torch')}."
        )
    others = [one for one in range(len(known_shape(port))) if one != axis]
    permutation = [axis, *others]
    for model in models:
        _transpose_ports(model.graph, state, permutation)
    initial = None if state.initial is None else state.initial.transpose(permutation)
    return replace(state, initial=initial)


def _transpose_ports(graph: ir.Graph, state: State, permutation: Sequence[int]) -> None:
    place = position_of(graph.inputs, state.input)
    old = graph.inputs[place]
    shape = [known_shape(old)[axis] for axis in permutation]
    inverse = [permutation.index(axis) for axis in range(len(permutation))]
    port = ir.val(state.input, type=old.type, shape=shape)
    inside = NodeBuilder(graph, next(iter(graph), None)).op(
        "Transpose", port, name=f"{state.name}_layers_first", perm=inverse
    )
    inside.shape, inside.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, inside, replace_graph_outputs=True)
    graph.inputs[place] = port
    place = position_of(graph.outputs, state.output)
    old = graph.outputs[place]
    if old is not inside:
        old.name = f"{state.name}_after_layers_first"
    outside = NodeBuilder(graph).op("Transpose", old, name=state.output, perm=permutation)
    graph.outputs[place] = new_output(graph, outside, state.output, port.shape, port.type)
