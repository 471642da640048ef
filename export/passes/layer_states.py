"""One state per layer of a stack: `h` becomes `h_l0`, `h_l1`, ….

A stack reads the parts of its state from a Split and joins them with a Concat. Both disappear where
they are, else they are added:

    h_in → Split → layers → Concat → h_out
    h_l0_in, h_l1_in → layers → h_l0_out, h_l1_out
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import onnx_ir as ir

from edgernn.contract import State
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.shapes import known_shape
from edgernn.export.passes.port_values import new_output, position_of

__all__ = ["split_states_by_layer"]


def split_states_by_layer(
    models: Sequence[ir.Model], states: Sequence[State], layers: Mapping[str, int]
) -> tuple[State, ...]:
    """Replace every state of several layers by one per layer, in place; return all states.

    A layer's state is (directions, batch, size): its part of torch's state along axis 0. A state
    of one layer stays as it is, as does one that the graphs do not split by layer.

    Args:
        models: The graphs of one model.
        states: Their states.
        layers: Name of a state → its number of layers.
    """
    stacks: list[tuple[State, ...]] = []
    for state in states:
        count = max(_split_count(model.graph, state) for model in models)
        if count == 1 or count != layers.get(state.name):
            stacks.append((state,))
            continue
        parts = _layer_states(state, count)
        stacks.append(parts)
        for model in models:
            _split_input(model.graph, state, parts)
            _split_output(model.graph, state, parts)
    ordered = _by_layer(stacks)
    for model in models:
        _move_to_end(model.graph.inputs, [state.input for state in ordered])
        _move_to_end(model.graph.outputs, [state.output for state in ordered])
    return ordered


def _by_layer(stacks: Sequence[tuple[State, ...]]) -> tuple[State, ...]:
    """Return h and c of one layer next to each other, as the contract has them."""
    groups = groupby(stacks, lambda parts: (len(parts), parts[0].name.removesuffix("_l0")[:-1]))
    return tuple(
        state for _, group in groups for layer in zip(*group, strict=True) for state in layer
    )


def _move_to_end(ports: MutableSequence[ir.Value], names: Sequence[str]) -> None:
    """Move the ports called `names` to the end, in that order, in place."""
    by_name = {port.name: port for port in ports}
    ports[:] = [port for port in ports if port.name not in names] + [by_name[n] for n in names]


def _split_count(graph: ir.Graph, state: State) -> int:
    """Return into how many parts the graph splits `state`; 1 where it does not."""
    value = graph.inputs[position_of(graph.inputs, state.input)]
    rows = [node.outputs[0] for node, _ in value.uses() if node.op_type == "Reshape"]
    uses = [use for one in (value, *rows) for use in one.uses()]
    nodes = [node for node, index in uses if node.op_type == "Split" and index == 0]
    return max((len(node.outputs) for node in nodes if _axis(node) == 0), default=1)


def _layer_states(state: State, count: int) -> tuple[State, ...]:
    initial = [None] * count if state.initial is None else np.split(state.initial, count)
    return tuple(
        replace(
            state,
            name=f"{state.name}_l{layer}",
            input=f"{state.name}_l{layer}_in",
            output=f"{state.name}_l{layer}_out",
            initial=initial[layer],
        )
        for layer in range(count)
    )


def _split_input(graph: ir.Graph, state: State, parts: Sequence[State]) -> None:
    """Replace the input of `state` by those of its parts; Splits of it are removed."""
    place = position_of(graph.inputs, state.input)
    whole = graph.inputs[place]
    shape = _shape_of_part(whole, len(parts))
    ports = [ir.val(part.input, type=whole.type, shape=shape) for part in parts]
    for node, index in whole.uses():
        if node.op_type == "Split" and index == 0 and len(node.outputs) == len(ports):
            ir.convenience.replace_all_uses_with(list(node.outputs), ports)
            graph.remove(node, safe=True)
    if whole.uses():
        builder = NodeBuilder(graph, graph[0])
        joined = builder.op("Concat", *ports, name=state.input, axis=0)
        joined.shape, joined.type = whole.shape, whole.type
        ir.convenience.replace_all_uses_with(whole, joined)
    graph.inputs[place : place + 1] = ports


def _split_output(graph: ir.Graph, state: State, parts: Sequence[State]) -> None:
    """Replace the output of `state` by those of its parts; a Concat of them is removed."""
    place = position_of(graph.outputs, state.output)
    whole = graph.outputs[place]
    shape, dtype, node = _shape_of_part(whole, len(parts)), whole.type, whole.producer()
    is_joined = node is not None and node.op_type == "Concat" and _axis(node) == 0
    if node is not None and is_joined and len(node.inputs) == len(parts):
        values = [value for value in node.inputs if value is not None]
    else:
        builder = NodeBuilder(graph)
        layers = np.full(len(parts), shape[0], np.int64)
        sizes = builder.constant(f"{state.output}_sizes", layers)
        names = [f"{part.output}_part" for part in parts]
        values = list(builder.op_multi_out("Split", whole, sizes, names=names, axis=0))
    graph.outputs[place : place + 1] = [
        new_output(graph, value, part.output, shape, dtype)
        for value, part in zip(values, parts, strict=True)
    ]
    if node is not None and is_joined and not whole.uses():
        graph.remove(node, safe=True)


def _shape_of_part(whole: ir.Value, count: int) -> ir.Shape:
    layers, *others = known_shape(whole)
    assert isinstance(layers, int)
    return ir.Shape((layers // count, *others))


def _axis(node: ir.Node) -> int:
    return node.attributes.get_int("axis", 0)
