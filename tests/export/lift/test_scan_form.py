"""Steps that become the body of a Scan."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.lift.lift_over_time import lift_over_time
from tests.nets.one_step import body, operators, run, session
from tests.nets.one_step_cells import SCAN_MODELS


def scan_of(model: ir.Model) -> ir.Node:
    (scan,) = (node for node in model.graph if node.op_type == "Scan")
    return scan


def test_the_body_holds_what_passes_from_step_to_step_alone():
    """The product of x and the head run on all steps at once; the body keeps h's product."""
    case = SCAN_MODELS["tanh_of_x_and_h"]
    lifted = lift_over_time(case.model(), case.states)
    assert body(lifted.model) == ["Gemm", "Tanh", "Identity"]
    assert operators(lifted.model).count("Gemm") == 3
    assert operators(lifted.model).count("LogSoftmax") == 1


def test_data_and_state_are_multiplied_apart():
    """W·[x, h] becomes Wh·h + Wx·x for each product, so that no x is joined to h in a step."""
    case = SCAN_MODELS["minimal_gated_unit"]
    lifted = lift_over_time(case.model(), case.states)
    assert body(lifted.model).count("Gemm") == 2
    assert operators(lifted.model).count("Gemm") == 2
    assert "Concat" not in body(lifted.model)


def test_moves_of_a_state_stay_outside_of_the_body():
    """Layers that share a state port are split before the Scan and joined after it."""
    case = SCAN_MODELS["layers_that_swap_their_states"]
    lifted = lift_over_time(case.model(), case.states)
    assert not {"Split", "Concat", "Squeeze", "Unsqueeze"} & set(body(lifted.model))


@pytest.mark.parametrize("name", SCAN_MODELS)
def test_float_weights_stay_outside_of_the_body(name):
    """The body reads weights from the graph around it, so that a runtime can pack them once."""
    case = SCAN_MODELS[name]
    whole = lift_over_time(case.model(), case.states).model
    inner = scan_of(whole).attributes["body"].as_graph()
    assert {value.dtype for value in inner.initializers.values()} <= {ir.DataType.INT64}
    outside = {value.dtype for value in whole.graph.initializers.values()}
    assert (ir.DataType.FLOAT in outside) == bool(case.weights)


def test_a_step_that_mixes_the_batch_is_computed_in_the_body():
    """What mixes the entries of a batch must not see other steps as entries."""
    case = SCAN_MODELS["output_that_mixes_the_batch"]
    assert "ReduceMean" in body(lift_over_time(case.model(), case.states).model)
    case = SCAN_MODELS["input_that_mixes_the_batch"]
    assert {"ReduceMean", "Sub"} < set(body(lift_over_time(case.model(), case.states).model))


def test_no_step_depends_on_a_later_one():
    """A change of the last step changes the last output alone."""
    case = SCAN_MODELS["layer_normalised_cell"]
    lifted = session(lift_over_time(case.model(), case.states).model)
    x = np.random.default_rng(0).standard_normal((1, 4, 3)).astype(np.float32)
    changed = x.copy()
    changed[:, -1] += 1
    state = np.zeros((1, 4), np.float32)
    first, second = (run(lifted, {"x": v, "h_in": state})[0] for v in (x, changed))
    assert np.array_equal(first[:, :-1], second[:, :-1])
    assert not np.array_equal(first[:, -1], second[:, -1])
