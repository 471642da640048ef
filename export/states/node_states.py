"""The states of recurrent nodes: h, and c where there is one, or all that a loop carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from edgernn.export.ir.call_nodes import StateLabel, call_nodes, state_places
from edgernn.export.ir.private_operators import LOOP
from edgernn.export.ir.recurrent_operators import STATES, Input, kind_of

__all__ = [
    "NodeState",
    "call_states",
    "calls_in_row",
    "is_same_value",
    "last_in_row",
    "operator_states",
]


@dataclass(frozen=True)
class NodeState:
    """One state of one recurrent node.

    Attributes:
        node: The node.
        call: The place of its call among those of the model.
        index: The place of the state among those of the node: 0 for h, 1 for c.
        input_place: The input of the node that takes the initial state.
        output_place: The output that holds the final state.
        layer: The name of its layer.
        name: What the state is called in its layer.
        of_layer: Whether it is h or c of a layer or cell, not something else that a loop carries.
        scope: The module of the layer, where several nodes may be of one; else empty.
        layer_input: The input that all calls of one layer share; None where each is a layer of its
            own.
    """

    node: ir.Node
    call: int
    index: int
    input_place: int
    output_place: int
    layer: str
    name: str
    of_layer: bool = True
    scope: str = ""
    layer_input: int | None = None

    @property
    def initial(self) -> ir.Value:
        """The initial state."""
        value = self.node.inputs[self.input_place]
        assert value is not None
        return value

    @property
    def final(self) -> ir.Value:
        """The final state."""
        return self.node.outputs[self.output_place]

    def is_of_layer_of(self, other: NodeState) -> bool:
        """Return whether two calls are of the same layer."""
        places = (self.layer_input, other.layer_input)
        if None in places:
            return False
        one, another = (state.node.inputs[state.layer_input or 0] for state in (self, other))
        return one is another


def call_states(
    graph: ir.Graph, labels: Mapping[int, Sequence[StateLabel]] = MappingProxyType({})
) -> list[NodeState]:
    """Return the states of the recurrent calls in a graph as `trace` leaves it.

    Args:
        graph: The graph, its layers named.
        labels: Place of the call of a loop → what its states are.
    """
    return [state for node in call_nodes(graph) for state in _states_of_call(node, labels)]


def _states_of_call(node: ir.Node, labels: Mapping[int, Sequence[StateLabel]]) -> list[NodeState]:
    call, layer = node.attributes["call"].as_int(), node.metadata_props["layer"]
    places = list(enumerate(state_places(node)))
    if node.op_type != LOOP:
        return [
            NodeState(
                node=node,
                call=call,
                index=index,
                input_place=input_place,
                output_place=output_place,
                layer=layer,
                name=STATES[index],
                layer_input=len(node.inputs) - 1,
            )
            for index, (input_place, output_place) in places
        ]
    return [
        NodeState(
            node=node,
            call=call,
            index=index,
            input_place=input_place,
            output_place=output_place,
            layer=labels[call][index].layer or layer,
            name=labels[call][index].name,
            of_layer=bool(labels[call][index].layer),
        )
        for index, (input_place, output_place) in places
    ]


def operator_states(nodes: Sequence[ir.Node]) -> list[NodeState]:
    """Return the states of nodes that are ONNX's recurrent operators, their layers named."""
    return [
        NodeState(
            node=node,
            call=call,
            index=index,
            input_place=place,
            output_place=1 + index,
            layer=node.metadata_props["layer"],
            name=name,
            scope=node.metadata_props.get("scope", ""),
            layer_input=Input.R,
        )
        for call, node in enumerate(nodes)
        for index, (name, place) in enumerate(
            zip(kind_of(node).states, kind_of(node).initial_states, strict=True)
        )
    ]


def last_in_row(state: NodeState, states: Sequence[NodeState]) -> NodeState:
    """Follow calls of the same layer, each started from the state that the last one left."""
    for later in states:
        if (
            later.call > state.call
            and later.index == state.index
            and later.is_of_layer_of(state)
            and is_same_value(later.initial, state.final)
        ):
            return last_in_row(later, states)
    return state


def calls_in_row(state: NodeState, states: Sequence[NodeState]) -> int:
    """Return how many calls of the same layer there are in a row from `state` on."""
    last = last_in_row(state, states)
    calls = {one.call for one in states if state.call <= one.call <= last.call}
    same_index = [one for one in states if one.call in calls and one.index == state.index]
    return sum(one.is_of_layer_of(state) for one in same_index)


def is_same_value(
    value: ir.Value, source: ir.Value, through: Collection[str] = ("Identity",)
) -> bool:
    """Return whether `value` is `source`, or made from it by operators of `through` alone."""
    while value is not source:
        node = value.producer()
        if node is None or node.op_type not in through or node.inputs[0] is None:
            return False
        value = node.inputs[0]
    return True
