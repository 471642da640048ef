from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.lift import lift
from tests.export.one_step import (
    H_STATES,
    OPERATOR_MODELS,
    SCAN_MODELS,
    body,
    largest_difference,
    operators,
)

TOLERANCE = 1e-5
RECURRENT = {"LSTM", "GRU", "RNN"}


@pytest.mark.parametrize("name", OPERATOR_MODELS)
def test_plain_layers_run_as_operators_over_the_sequence(name):
    """Cells that form plain layers become their operator over time, with the same numbers."""
    case = OPERATOR_MODELS[name]
    lifted = lift(case.model(), case.states)
    assert (lifted.form, lifted.reason) == ("operator", "")
    assert RECURRENT & set(operators(lifted.model))
    assert "Scan" not in operators(lifted.model)
    assert largest_difference(case.model(), lifted.model, case.states) < TOLERANCE


@pytest.mark.parametrize("name", SCAN_MODELS)
def test_anything_else_runs_as_a_scan(name):
    """Any other step becomes the body of a Scan, with the same numbers and no operator in it."""
    case = SCAN_MODELS[name]
    lifted = lift(case.model(), case.states)
    assert lifted.form == "scan"
    assert not RECURRENT & {*operators(lifted.model), *body(lifted.model)}
    assert largest_difference(case.model(), lifted.model, case.states) < TOLERANCE


@pytest.mark.parametrize("name", [*OPERATOR_MODELS, *SCAN_MODELS])
def test_last_only_gives_the_last_step(name):
    """An output in `last_only` keeps its one-step shape and has the last step's value."""
    case = (OPERATOR_MODELS | SCAN_MODELS)[name]
    lifted = lift(case.model(), case.states, last_only=["output"])
    found = largest_difference(case.model(), lifted.model, case.states, ["output"])
    assert found < TOLERANCE
