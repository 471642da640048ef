"""The rules for states of recurrent nodes, and for calls of one layer in a row."""

from __future__ import annotations

import onnx_ir as ir

from edgernn.export.ir.call_nodes import StateLabel
from edgernn.export.states.node_states import (
    call_states,
    calls_in_row,
    is_same_value,
    last_in_row,
    operator_states,
)


def call(
    place: int, op_type: str, *inputs: ir.Value, outputs: int = 1, **attributes: int
) -> ir.Node:
    attrs = ir.convenience.convert_attributes({"call": place, **attributes})
    node = ir.Node("torch", op_type, inputs, attrs, num_outputs=outputs)
    node.metadata_props["layer"] = op_type
    return node


def value(name: str) -> ir.Value:
    return ir.Value(name=name)


def test_a_layer_has_h_and_c_after_its_output():
    """An LSTM takes two states after x and leaves them after y."""
    node = call(0, "lstm", *map(value, ("x", "h", "c", "w")), outputs=3)
    h, c = call_states(ir.Graph([], [], nodes=[node]))
    assert [(s.name, s.layer, s.of_layer) for s in (h, c)] == [
        ("h", "lstm", True),
        ("c", "lstm", True),
    ]
    assert (h.initial, c.final) == (node.inputs[1], node.outputs[2])


def test_a_loop_has_the_states_of_its_layers_and_its_own():
    """A label says of which layer a state is; one of no layer is the loop's."""
    node = call(0, "loop", *map(value, ("x", "a", "b")), outputs=2, sequences=1, states=2)
    labels = {0: [StateLabel("cell", "h"), StateLabel("", "h0")]}
    states = call_states(ir.Graph([], [], nodes=[node]), labels)
    assert [(s.layer, s.name, s.of_layer) for s in states] == [
        ("cell", "h", True),
        ("loop", "h0", False),
    ]


def test_operators_have_their_states_at_onnxs_places():
    """A GRU's state is input 5 and output 1; its scope is kept."""
    node = ir.Node("", "GRU", list(map(value, "xwrbsh")), num_outputs=2)
    node.metadata_props.update({"layer": "rnn", "scope": "rnn"})
    (h,) = operator_states([node])
    assert (h.initial, h.final, h.scope) == (node.inputs[5], node.outputs[1], "rnn")


def test_calls_of_one_layer_are_followed_to_the_last():
    """Each starts from the state that the one before left; another layer's does not count."""
    weight, other = value("w"), value("v")
    first = call(0, "gru_cell", value("x"), value("h"), weight)
    second = call(1, "gru_cell", value("x2"), first.outputs[0], weight)
    third = call(2, "gru_cell", value("x3"), second.outputs[0], other)
    states = call_states(ir.Graph([], [], nodes=[first, second, third]))
    assert last_in_row(states[0], states) == states[1]
    assert [calls_in_row(state, states) for state in states] == [2, 1, 1]


def test_packed_layers_over_the_same_lengths_are_two():
    """Whose layer a packed call is tell its weights, not the lengths that it ends with."""
    lengths = value("lengths")
    first = call(0, "gru", *map(value, "xhw"), lengths, outputs=2, packed=1)
    weight = value("v")
    second = call(1, "gru", value("x2"), first.outputs[1], weight, lengths, outputs=2, packed=1)
    states = call_states(ir.Graph([], [], nodes=[first, second]))
    assert last_in_row(states[0], states) == states[0]
    assert [state.layer_value for state in states] == [first.inputs[2], weight]


def test_a_value_is_the_same_through_copies_and_other_shapes_only():
    """By default a copy alone is the same value; a reshape is where it is allowed."""
    x = value("x")
    copy = ir.node("Identity", [x]).outputs[0]
    flat = ir.node("Reshape", [copy, value("shape")]).outputs[0]
    scaled = ir.node("Mul", [x, value("k")]).outputs[0]
    assert is_same_value(copy, x)
    assert not is_same_value(flat, x)
    assert is_same_value(flat, x, ("Identity", "Reshape"))
    assert not is_same_value(scaled, x, ("Identity", "Reshape"))
