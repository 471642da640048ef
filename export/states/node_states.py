"""The states of recurrent nodes: h, and c where there is one, or all that a loop carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from edgernn.export.ir.call_nodes import StateLabel, call_nodes, state_places, weights_of
from edgernn.export.ir.operator_kinds import LOOP
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
        layer_value: What all calls of one layer read, such as its weights; None where each call is
            a layer of its own.
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
    layer_value: ir.Value | None = None

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


def call_states(
    graph: ir.Graph, labels: Mapping[int, Sequence[StateLabel]] = MappingProxyType({})
) -> list[NodeState]:
    """Return the states of the recurrent calls in a graph as `trace` leaves it, its layers named.

    `labels` are what the states of each loop are, by the place of its call.
    """
    states: list[NodeState] = []
    for node in call_nodes(graph):
        call, layer = node.attributes["call"].as_int(), node.metadata_props["layer"]
        in_loop = node.op_type == LOOP
        for index, (input_place, output_place) in enumerate(state_places(node)):
            label = labels[call][index] if in_loop else StateLabel(layer, STATES[index])
            state = NodeState(
                node=node,
                call=call,
                index=index,
                input_place=input_place,
                output_place=output_place,
                layer=label.layer or layer,
                name=label.name,
                of_layer=bool(label.layer),
                layer_value=None if in_loop else weights_of(node)[-1],
            )
            states.append(state)
    return states


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
            layer_value=node.inputs[Input.R],
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
            and later.layer_value is state.layer_value is not None
            and is_same_value(later.initial, state.final)
        ):
            return last_in_row(later, states)
    return state


def calls_in_row(state: NodeState, states: Sequence[NodeState]) -> int:
    """Return how many calls of the same layer there are in a row from `state` on."""
    last = last_in_row(state, states)
    return sum(
        state.call <= one.call <= last.call
        and one.index == state.index
        and one.layer_value is state.layer_value is not None
        for one in states
    )


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
