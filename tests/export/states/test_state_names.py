"""The names of states in the contract."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.states.node_states import NodeState
from edgernn.export.states.state_names import StateNames

NODE = ir.Node("", "LSTM", [])


def state(layer: str, index: int = 0, call: int = 0, scope: str = "") -> NodeState:
    return NodeState(NODE, call, index, 1 + index, 1 + index, layer, "hc"[index], scope=scope)


def test_a_layer_alone_needs_no_name():
    """Its states are h and c."""
    states = [state("rnn"), state("rnn", 1)]
    names = StateNames(states)
    assert [names.of_state(one) for one in states] == ["h", "c"]


def test_states_of_several_layers_begin_with_their_names():
    """What is no part of a name becomes an underscore, and no name is there twice."""
    states = [state("a"), state("b.0", call=1), state("b/0", call=2)]
    names = StateNames(states)
    assert [names.of_state(one) for one in states] == ["a_h", "b_0_h", "b_0_h_"]


@pytest.mark.parametrize(
    ("path", "result", "name"),
    [("cache_in", "cache_out", "cache"), ("cache_in", "[1]", "cache_in"), ("h[0]", "[1]", "h_0")],
)
def test_an_argument_is_named_after_its_ports(path, result, name):
    """`NAME_in` and `NAME_out` are NAME; else it is called as the argument is."""
    assert StateNames([]).of_argument(path, result, [], None) == name


def test_an_argument_that_is_a_layers_whole_state_has_its_name():
    """As it would have if forward made it."""
    h, other = state("one"), state("two", call=1)
    assert StateNames([h, other]).of_argument("h0", "[1]", [h], h) == "one_h"


def test_an_argument_of_a_whole_stack_is_named_after_the_stack():
    """Nodes of one scope are one layer, whose h the argument is; a part of them is not."""
    stack = [state(f"rnn_{layer}", call=layer, scope="rnn") for layer in (0, 1)]
    assert StateNames(stack).of_argument("hx", "[1]", stack, None) == "h"
    assert StateNames(stack).of_argument("hx", "[1]", stack[:1], None) == "hx"
    with_head = [*stack, state("head", call=2, scope="head")]
    assert StateNames(with_head).of_argument("hx", "[1]", stack, None) == "rnn_h"
