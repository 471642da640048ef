"""One state for every layer of a stack."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import onnx_ir as ir

from edgernn.contract import State
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.passes.graph_ports import new_input, new_output

__all__ = ["state_per_layer"]


def state_per_layer(
    models: Sequence[ir.Model], states: Sequence[State], layers: Mapping[str, int]
) -> tuple[State, ...]:
    """Replace every state of several layers by one state per layer, `h` by `h_l0`, `h_l1`, ….

    A layer's state is (directions, batch, size): its part of torch's state along axis 0. A state
    of one layer stays as it is. All `models` are changed in place.

    Args:
        models: The graphs of one model.
        states: Their states.
        layers: Name of a state → the number of layers that it is of.

    Returns:
        The states that the graphs now have.
    """
    split: list[tuple[State, ...]] = []
    for state in states:
        count = max(_splits(model, state) for model in models)
        count = count if count == layers.get(state.name) else 1
        split.append(_pieces(state, count) if count > 1 else (state,))
        for model in models if count > 1 else ():
            _split_input(model.graph, state, split[-1])
            _split_output(model.graph, state, split[-1])
    ordered = _by_layer(split)
    for model in models:
        _order(model.graph.inputs, [state.input for state in ordered])
        _order(model.graph.outputs, [state.output for state in ordered])
    return ordered


def _by_layer(split: Sequence[tuple[State, ...]]) -> tuple[State, ...]:
    """Bring h and c of one layer together, as the contract has them."""
    stacks = groupby(split, lambda pieces: (len(pieces), pieces[0].name.removesuffix("_l0")[:-1]))
    return tuple(
        state for _, stack in stacks for layer in zip(*stack, strict=True) for state in layer
    )


def _order(ports: MutableSequence[ir.Value], names: Sequence[str]) -> None:
    """Bring the states behind the data, in the order of `names`."""
    by_name = {port.name: port for port in ports}
    ports[:] = [port for port in ports if port.name not in names] + [by_name[n] for n in names]


def _splits(model: ir.Model, state: State) -> int:
    """Return into how many parts the graph splits `state`; 1 where it does not."""
    (value,) = [value for value in model.graph.inputs if value.name == state.input]
    nodes = [node for node, index in value.uses() if node.op_type == "Split" and index == 0]
    return max((len(node.outputs) for node in nodes if _axis(node) == 0), default=1)


def _pieces(state: State, count: int) -> tuple[State, ...]:
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


def _split_input(graph: ir.Graph, state: State, pieces: Sequence[State]) -> None:
    """Put the pieces where the state came in; splits of the whole fall away."""
    place, whole = next((i, v) for i, v in enumerate(graph.inputs) if v.name == state.input)
    parts = [new_input(piece.input, whole, _part_of(whole.shape, len(pieces))) for piece in pieces]
    for node, index in whole.uses():
        if node.op_type == "Split" and index == 0 and len(node.outputs) == len(parts):
            ir.convenience.replace_all_uses_with(list(node.outputs), parts)
            graph.remove(node, safe=True)
    if whole.uses():
        builder = NodeBuilder(graph, next(iter(graph)))
        joined = builder.op("Concat", *parts, name=state.input, axis=0)
        joined.shape, joined.type = whole.shape, whole.type
        ir.convenience.replace_all_uses_with(whole, joined)
    graph.inputs[place : place + 1] = parts


def _split_output(graph: ir.Graph, state: State, pieces: Sequence[State]) -> None:
    """Give the pieces out where the state came out; a join of them falls away."""
    place, whole = next((i, v) for i, v in enumerate(graph.outputs) if v.name == state.output)
    shape, dtype = _part_of(whole.shape, len(pieces)), whole.type
    node = whole.producer()
    joined = node is not None and node.op_type == "Concat" and _axis(node) == 0
    if node is not None and joined and len(node.inputs) == len(pieces):
        parts = [value for value in node.inputs if value is not None]
    else:
        builder = NodeBuilder(graph)
        assert shape is not None
        sizes = builder.constant(f"{state.output}_sizes", np.full(len(pieces), shape[0], np.int64))
        names = [f"{piece.output}_part" for piece in pieces]
        parts = list(builder.op_multi_out("Split", whole, sizes, names=names, axis=0))
    outputs = [
        new_output(graph, part, piece.output, shape, dtype)
        for part, piece in zip(parts, pieces, strict=True)
    ]
    graph.outputs[place : place + 1] = outputs
    if node is not None and joined and not whole.uses():
        graph.remove(node, safe=True)


def _part_of(shape: ir.Shape | None, count: int) -> ir.Shape:
    assert shape is not None
    layers = shape[0]
    assert isinstance(layers, int)
    return ir.Shape((layers // count, *list(shape)[1:]))


def _axis(node: ir.Node) -> int:
    return node.attributes["axis"].as_int() if "axis" in node.attributes else 0
