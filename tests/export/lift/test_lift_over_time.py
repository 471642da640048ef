"""One-step graphs, lifted over time."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.shapes import shape_of
from edgernn.export.lift.lift_over_time import lift_over_time
from edgernn.export.lower.projection import scan_projection
from edgernn.export.step.at_one_step import gemm_form
from tests.nets.one_step import (
    H_STATES,
    LSTM_STATES,
    OneStepModel,
    body,
    largest_difference,
    operators,
)
from tests.nets.one_step_cells import SCAN_MODELS
from tests.nets.one_step_layers import OPERATOR_MODELS

TOLERANCE = 1e-5
RECURRENT = {"LSTM", "GRU", "RNN"}


@pytest.mark.parametrize("name", OPERATOR_MODELS)
def test_plain_layers_run_as_operators_over_the_sequence(name):
    """Cells that form plain layers become their operator over time, with the same numbers."""
    case = OPERATOR_MODELS[name]
    lifted = lift_over_time(case.model(), case.states)
    assert (lifted.form, lifted.reason) == ("operator", "")
    assert RECURRENT & set(operators(lifted.model))
    assert "Scan" not in operators(lifted.model)
    assert largest_difference(case.model(), lifted.model, case.states) < TOLERANCE


@pytest.mark.parametrize("name", SCAN_MODELS)
def test_anything_else_runs_as_a_scan(name):
    """Any other step becomes the body of a Scan, with the same numbers and no operator in it."""
    case = SCAN_MODELS[name]
    lifted = lift_over_time(case.model(), case.states)
    assert lifted.form == "scan"
    assert not RECURRENT & {*operators(lifted.model), *body(lifted.model)}
    assert largest_difference(case.model(), lifted.model, case.states) < TOLERANCE


def test_a_projected_lstm_is_lifted_as_its_operator():
    """`edgernn::LSTM` is lifted like LSTM and becomes a Scan after that."""
    layer = OneStepModel(
        """g (float[batch, 3] x, float[1, batch, 2] h_in, float[1, batch, 4] c_in)
            => (float[batch, 2] output, float[1, batch, 2] h_out, float[1, batch, 4] c_out) {
            s = Unsqueeze(x, zero)
            y, h_out, c_out = edgernn.LSTM<hidden_size=4>(s, W, R, B, P, h_in, c_in)
            output = Squeeze(h_out, zero) }""",
        {"W": (1, 16, 3), "R": (1, 16, 2), "B": (1, 32), "P": (1, 2, 4)},
        LSTM_STATES,
        {"zero": [0]},
    )
    lifted = lift_over_time(layer.model(), layer.states)
    assert lifted.form == "operator"
    whole = scan_projection(lifted.model)
    assert operators(whole).count("Scan") == 1
    assert largest_difference(gemm_form(layer.model()), whole, layer.states) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tanh_of_x_and_h", "state `h_out` is computed by `Tanh`"),
        ("cell_state_as_feature", "cell state `c_out` is used outside of its recurrent node"),
        ("rnn_whose_state_is_scaled", "state `h_out` is computed by `Mul`"),
        (
            "layers_that_swap_their_states",
            "`h0` does not start a step as `n0` ended the last one",
        ),
    ],
)
def test_the_reason_against_the_operator_is_told(name, reason):
    """A Scan says why it is not the operator."""
    case = SCAN_MODELS[name]
    assert lift_over_time(case.model(), case.states).reason == reason


@pytest.mark.parametrize("name", ["lstm_cell", "tanh_of_x_and_h"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_sequence_axis_goes_where_it_is_asked_to(name, place):
    """`sequence_axes` gives the place of the axis in a port's new shape."""
    case = (OPERATOR_MODELS | SCAN_MODELS)[name]
    axes = {"x": place, "output": 2 - place}
    lifted = lift_over_time(case.model(), case.states, sequence_axes=axes).model
    shapes = {
        port.name: list(shape_of(port) or ())
        for port in (*lifted.graph.inputs, *lifted.graph.outputs)
    }
    assert [shapes["x"].index("sequence"), shapes["output"].index("sequence")] == [place, 2 - place]
    assert largest_difference(case.model(), lifted, case.states) < TOLERANCE


def test_the_sequence_axis_comes_after_the_batch_by_default():
    """(batch, …) becomes (batch, sequence, …), and a port without a batch gets it first."""
    case = OPERATOR_MODELS["lstm_cell"]
    x = lift_over_time(case.model(), case.states).model.graph.inputs[0]
    assert shape_of(x) == ("batch", "sequence", 3)
    case = SCAN_MODELS["no_batch_axis"]
    x = lift_over_time(case.model(), case.states).model.graph.inputs[0]
    assert shape_of(x) == ("sequence", 3)


def test_the_model_is_left_as_it_is_and_its_metadata_kept():
    """The lift makes a new model, of the same opset, IR version and metadata."""
    case = OPERATOR_MODELS["lstm_cell"]
    model = case.model()
    model.metadata_props["edgernn.source"] = "test"
    before = ir.to_proto(model).SerializeToString()
    lifted = lift_over_time(model, case.states).model
    assert ir.to_proto(model).SerializeToString() == before
    assert lifted.metadata_props == {"edgernn.source": "test"}
    assert (lifted.ir_version, lifted.opset_imports[""]) == (8, 18)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"states": [("k_in", "h_out")]},
            "The one-step graph has no input `k_in`. It has: 'x', 'h_in'.",
        ),
        (
            {"states": [("h_in", "k_out")]},
            "The one-step graph has no output `k_out`. It has: 'output', 'h_out'.",
        ),
        (
            {"states": H_STATES, "constants": ["k"]},
            "The one-step graph has no input `k`. It has: 'x', 'h_in'.",
        ),
        (
            {"states": H_STATES, "sequence_axes": {"h_in": 0}},
            "The one-step graph has no data port `h_in`. It has: 'x', 'output'.",
        ),
        (
            {"states": H_STATES, "sequence_axes": {"x": 3}},
            "`x` has 2 axes in one step, so the sequence axis goes to 0 to 2, not 3. Choose one "
            "of these.",
        ),
    ],
)
def test_wrong_ports_are_refused_by_name(arguments, message):
    """A port or place that does not exist is named, with those that exist."""
    with pytest.raises(UnsupportedModelError) as refusal:
        lift_over_time(SCAN_MODELS["tanh_of_x_and_h"].model(), **arguments)
    assert str(refusal.value) == message


def test_control_flow_inside_a_step_is_refused():
    """A step with an If in it has no form over time."""
    model = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[batch, 4] x, float[batch, 4] h_in, bool[1] b)
            => (float[batch, 4] output, float[batch, 4] h_out) {
            output = If (b) <
                then_branch = yes () => (float[batch, 4] one) { one = Neg(x) },
                else_branch = no () => (float[batch, 4] two) { two = Exp(x) }>
            h_out = Add(output, h_in) }"""
    )
    model.graph.node(0).name = "choice"
    with pytest.raises(UnsupportedModelError) as refusal:
        lift_over_time(model, H_STATES)
    assert str(refusal.value) == (
        "`choice` (If) is control flow inside one step, which has no form over time. Write the "
        "step without it."
    )


def test_a_port_of_unknown_shape_is_refused():
    """Without a declared shape there is no place for the sequence axis."""
    model = SCAN_MODELS["tanh_of_x_and_h"].model()
    model.graph.inputs[0].shape = None
    with pytest.raises(UnsupportedModelError) as refusal:
        lift_over_time(model, H_STATES)
    assert str(refusal.value) == (
        "`x` has no declared shape. Declare a size or a name for each axis."
    )
