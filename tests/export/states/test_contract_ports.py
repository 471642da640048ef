"""The names of ports, their order, and what the contract says of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.contract import Graph, Port, State
from edgernn.errors import UnsupportedModelError
from edgernn.export.states.contract_ports import (
    Origins,
    contract_states,
    graph_ports,
    name_ports,
    order_notes,
)
from edgernn.export.states.state_port import StatePort

H = StatePort("h", "hx[0]", "[1][0]", call=0, last_call=0)
C = StatePort("c", None, None, call=0, last_call=0, index=1)
FLOATS = "float[batch, 2]"


def graph(inputs: Mapping[str, str], outputs: Mapping[str, str], unused: str = "") -> ir.Model:
    """Return a graph that adds all inputs but `unused` and gives the sum as every output.

    Args:
        inputs: Name → type, with names as `trace` gives them.
        outputs: The same.
        unused: The input that no node takes.
    """
    model = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 18}), ir_version=8)
    for name, type_ in inputs.items():
        model.graph.inputs.append(_value(name, type_))
    total = ir.node("Sum", [value for value in model.graph.inputs if value.name != unused])
    model.graph.append(total)
    for name, type_ in outputs.items():
        output = ir.node("Identity", [total.outputs[0]])
        like = _value(name, type_)
        output.outputs[0].name, output.outputs[0].type = name, like.type
        output.outputs[0].shape = like.shape
        model.graph.append(output)
        model.graph.outputs.append(output.outputs[0])
    return model


def _value(name: str, type_: str) -> ir.Value:
    dtype, _, dims = type_.rstrip("]").partition("[")
    shape = [int(dim) if dim.isdigit() else dim for dim in dims.split(", ")]
    kinds = {"float": ir.DataType.FLOAT, "int64": ir.DataType.INT64}
    return ir.Value(name=name, type=ir.TensorType(kinds[dtype]), shape=ir.Shape(shape))


def named(
    inputs: list[str], outputs: list[str], *states: StatePort, unused: str = ""
) -> tuple[list[str], list[str], Origins]:
    """Return the names that ports get, inputs and outputs, and where they come from."""
    model = graph(dict.fromkeys(inputs, FLOATS), dict.fromkeys(outputs, FLOATS), unused)
    origins = name_ports(model, states)
    return (
        [value.name or "" for value in model.graph.inputs],
        [value.name or "" for value in model.graph.outputs],
        origins,
    )


# --- names ----------------------------------------------------------------------------------------


def test_data_comes_first_and_states_follow_in_pairs():
    """Whatever order the trace left, states are last and in the same order on both sides."""
    inputs, outputs, origins = named(["c_in", "h_in", "x"], ["c_out", "result:[0]", "h_out"], H, C)
    assert inputs == ["x", "h_in", "c_in"]
    assert outputs == ["output", "h_out", "c_out"]
    assert origins == Origins(
        {"x": "x", "h_in": "hx[0]", "c_in": None},
        {"output": "[0]", "h_out": "[1][0]", "c_out": None},
        (),
    )


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ([""], ["output"]),
        (["[0]"], ["output"]),
        ([".logits"], ["logits"]),
        (["[0]", "[1][2]"], ["output_0", "output_1_2"]),
        ([".logits", '["a b"][0]'], ["logits", "a_b_0"]),
    ],
    ids=str,
)
def test_outputs_have_the_names_of_their_fields_or_places(paths, wanted):
    """An only output without a field is `output`; several are told apart."""
    _, outputs, origins = named(["x"], [f"result:{path}" for path in paths])
    assert outputs == wanted
    assert list(origins.outputs.values()) == paths


def test_inputs_have_the_names_of_their_arguments():
    """A path into an argument becomes one word, and the path stays as the origin."""
    inputs, _, origins = named(["x", 'obs["left eye"][0]'], ["result:"])
    assert inputs == ["x", "obs_left_eye_0"]
    assert origins.inputs == {"x": "x", "obs_left_eye_0": 'obs["left eye"][0]'}


def test_no_name_is_given_twice():
    """Arguments that read alike, and an output called like an input, get an underscore."""
    inputs, outputs, _ = named(["a[0]", "a_0", "y", "h_in"], ["result:.y", "h_out"], H)
    assert inputs == ["a_0", "a_0_", "y", "h_in"]
    assert outputs == ["y_", "h_out"]


def test_data_called_like_a_state_makes_way():
    """The state's port keeps its name; forward's own `h_out` gets another."""
    _, outputs, _ = named(["x", "h_in"], ["h_out", "result:.h_out", "result:.y"], H)
    assert outputs == ["h_out_", "y", "h_out"]


def test_a_state_alone_is_the_output_too():
    """Where forward returns its states only, as a cell does, the first is given as data too."""
    _, outputs, origins = named(["x", "h_in", "c_in"], ["h_out", "c_out"], H, C)
    assert outputs == ["output", "h_out", "c_out"]
    assert origins.outputs["output"] == "[1][0]"


def test_an_input_that_nothing_looks_at_is_left_out():
    """It is no port, and its name is told."""
    inputs, _, origins = named(["x", "mask"], ["result:"], unused="mask")
    assert (inputs, origins.unused) == (["x"], ("mask",))


def test_a_forward_that_looks_at_no_input_is_refused():
    """A graph of states alone has nothing to be fed."""
    with pytest.raises(UnsupportedModelError) as caught:
        named(["x", "h_in"], ["h_out", "result:"], H, unused="x")
    assert str(caught.value) == "forward does not look at any of its inputs."


# --- what the contract says -----------------------------------------------------------------------


def test_ports_are_written_as_the_graph_has_them():
    """The dtype by NumPy's name, sizes and symbols, expressions too, and the origin."""
    model = graph({"x": "float[batch, 3]"}, {"result:": "float[batch*sequence, 2]"})
    ports = graph_ports(model, name_ports(model, ()))
    assert ports.inputs == (Port("x", "float32", ("batch", 3), "x"),)
    assert ports.outputs == (Port("output", "float32", ("batch*sequence", 2), ""),)


@pytest.mark.parametrize(("dtype", "limit"), [("int64", 7), ("float", None)])
def test_only_ids_have_a_limit(dtype, limit):
    """The rows of a table limit the integers that look them up."""
    model = ir.from_onnx_text(f"""<ir_version: 8, opset_import: ["": 18]>
        g ({dtype}[batch] ids) => (float[batch, 2] output) <float[7, 2] table> {{
        whole = Cast<to=7>(ids)
        output = Gather(table, whole) }}""")
    model.graph.outputs[0].name = "result:"
    ports = graph_ports(model, name_ports(model, ()))
    assert ports.inputs[0].limit == limit


def test_a_port_of_unknown_shape_is_refused():
    """The contract states the shape of every port."""
    model = graph({"x": FLOATS}, {"result:.y": FLOATS})
    origins = name_ports(model, ())
    model.graph.outputs[0].shape = None
    with pytest.raises(UnsupportedModelError) as caught:
        graph_ports(model, origins)
    assert str(caught.value) == "The shape of `y` is not known after the trace."


def test_states_are_pairs_of_ports():
    """A state's ports are its name with _in and _out; a learned start goes along."""
    start = np.ones((1, 1, 3), np.float32)
    learned = StatePort("rnn_h", None, None, call=0, last_call=0, initial=start)
    plain, other = contract_states((H, learned))
    assert plain == State("h", "h_in", "h_out")
    assert (other.name, other.input, other.output) == ("rnn_h", "rnn_h_in", "rnn_h_out")
    assert other.initial is start


def test_ports_that_do_not_agree_have_a_note():
    """Sequences and steps are in one order on all ports, or a note names those that differ."""
    x = Port("x", "float32", ("batch", "sequence", 4))
    mask = Port("mask", "float32", ("sequence", "batch"))
    y = Port("y", "float32", ("batch", "sequence", 2))
    last = Port("last", "float32", ("batch", 2))
    turned = Port("turned", "float32", ("sequence", "batch", 2))
    assert list(order_notes(Graph((x,), (y, last)))) == []
    assert list(order_notes(Graph((x, mask), (y, turned, last)))) == [
        "`mask: float32[sequence, batch]` has its axes in another order than `x: float32[batch, "
        "sequence, 4]`, as forward takes it.",
        "`turned: float32[sequence, batch, 2]` has its axes in another order than `x: "
        "float32[batch, sequence, 4]`, as forward returns it.",
    ]


def test_what_the_user_says_of_ids_is_a_limit():
    """A number is one, the name of an axis is none."""
    model = graph({"a": FLOATS, "b[0]": FLOATS}, {"y": FLOATS})
    origins = name_ports(model, [], {"a": 7, "b[0]": "nodes", "x": 3})
    assert origins.limits == {"a": 7}


def test_contexts_come_from_nowhere_in_the_call():
    """The ports of a context have no path; those that were known before keep theirs."""
    context = StatePort("conv_context", None, None, None, None, context=True)
    known = Origins({"x": "x"}, {"output": ""}, ("unused",), {"x": 7})
    assert known.with_contexts([H, context]) == Origins(
        {"x": "x", "conv_context_in": None},
        {"output": "", "conv_context_out": None},
        ("unused",),
        {"x": 7},
    )
