"""Which values of a step start as which values of the step before."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from edgernn.export.lift.state_flow import ChangedStateError, carried_pairs, check_feedback

CONSTANTS = "int64[1] zero = {0}, int64[2] ones = {1, 1}"


def graph_of(ports: str, lines: str) -> ir.Graph:
    """Return a graph from ONNX's text form, with all of its shapes."""
    text = f'<ir_version: 8, opset_import: ["": 18]> g {ports} <{CONSTANTS}> {{ {lines} }}'
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    return ir.from_proto(proto).graph


def by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    return {str(value.name): value for value in values}


def ports_of(graph: ir.Graph) -> dict[ir.Value, ir.Value]:
    """Return the inputs that end with `_in`, each with its output."""
    outputs = {value.name: value for value in graph.outputs}
    return {
        value: outputs[str(value.name).replace("_in", "_out")]
        for value in graph.inputs
        if str(value.name).endswith("_in")
    }


def names(pairs: list[tuple[ir.Value, ir.Value]]) -> list[tuple[str | None, str | None]]:
    return [(before.name, after.name) for before, after in pairs]


IN_ANOTHER_SHAPE = graph_of(
    "(float[1, batch, 4] h_in) => (float[1, batch, 4] h_out)",
    "h = Squeeze(h_in, zero) t = Tanh(h) h_out = Unsqueeze(t, zero)",
)

TWO_IN_ONE = graph_of(
    "(float[2, batch, 4] h_in) => (float[2, batch, 4] h_out)",
    "a, b = Split<axis = 0>(h_in, ones) s = Sin(a) t = Tanh(b) h_out = Concat<axis = 0>(s, t)",
)

SWAPPED = graph_of(
    "(float[2, batch, 4] h_in) => (float[2, batch, 4] h_out)",
    "a, b = Split<axis = 0>(h_in, ones) s = Sin(a) t = Tanh(b) h_out = Concat<axis = 0>(t, s)",
)


def test_a_state_is_followed_through_other_shapes():
    """What is carried is the value that operators read and the one that they leave."""
    assert names(carried_pairs(IN_ANOTHER_SHAPE, ports_of(IN_ANOTHER_SHAPE))) == [("h", "t")]


def test_states_that_share_a_port_are_carried_each_for_itself():
    """Each part of the port goes back to its own place, or to the one of another."""
    assert names(carried_pairs(TWO_IN_ONE, ports_of(TWO_IN_ONE))) == [("a", "s"), ("b", "t")]
    assert names(carried_pairs(SWAPPED, ports_of(SWAPPED))) == [("a", "t"), ("b", "s")]


def test_where_nothing_nearer_is_proven_the_ports_are_carried():
    """A state that is put together anew from parts of others is carried as a whole."""
    graph = graph_of(
        "(float[2, batch, 4] h_in) => (float[2, batch, 4] h_out)",
        "a, b = Split<axis = 0>(h_in, ones) both = Concat<axis = 0>(b, a) h_out = Tanh(both)",
    )
    assert names(carried_pairs(graph, ports_of(graph))) == [("h_in", "h_out")]


def test_feedback_is_proven():
    """A pair of which the first starts a step as the second ended the last one passes."""
    values = by_name(TWO_IN_ONE)
    pairs = [(values["a"], values["s"]), (values["b"], values["t"])]
    check_feedback(TWO_IN_ONE, ports_of(TWO_IN_ONE), pairs)


def test_feedback_of_another_value_is_refused():
    """A pair of two layers that swap their states is none."""
    values = by_name(SWAPPED)
    with pytest.raises(ChangedStateError) as caught:
        check_feedback(
            SWAPPED,
            ports_of(SWAPPED),
            [(values["a"], values["s"]), (values["b"], values["t"])],
        )
    assert str(caught.value) == "`a` does not start a step as `s` ended the last one"


def test_feedback_through_a_computation_is_refused():
    """A state that an operator changes after the value in question does not end as that value."""
    graph = graph_of(
        "(float[batch, 4] h_in) => (float[batch, 4] h_out)",
        "t = Tanh(h_in) h_out = Neg(t)",
    )
    with pytest.raises(ChangedStateError) as caught:
        check_feedback(graph, ports_of(graph), [(graph.inputs[0], by_name(graph)["t"])])
    assert str(caught.value) == "state `h_out` is computed by `Neg`"
