"""The report on a precision as a value, and in contract.json."""

from __future__ import annotations

import json

import pytest

from edgernn.errors import ContractError
from edgernn.json_field import JsonField
from edgernn.precision_report import (
    Calibration,
    ChainedRun,
    Measure,
    PrecisionReport,
    StoredWeight,
)

REPORT = PrecisionReport(
    "int8",
    {"step": (StoredWeight("w", "Gather", (3, 4), "float32", 48, "a table"),)},
    (ChainedRun("step", 1000, 2e-3),),
    Calibration("t.txt", "step", 2, 1500, (Measure("perplexity", 4.0, 4.1),), 2.5),
)


def read(data: object) -> PrecisionReport:
    """Read a report back."""
    return PrecisionReport.from_json(JsonField("`m`", "precision", data))


def test_reading_gives_what_was_written():
    """Nothing is lost on the way through JSON."""
    assert read(json.loads(json.dumps(REPORT.to_json()))) == REPORT


def test_facts_are_lines_for_people():
    """Precision, chained error and quality, in this order."""
    assert REPORT.facts == [
        ("precision", "int8"),
        ("chained", "2.0e-03 over 1,000 steps of step.onnx"),
        (
            "data",
            "perplexity 4 before, 4.1 after: a loss of 2.50 % on t.txt, 2 × 1,500 steps",
        ),
    ]
    assert REPORT.has_reasons
    assert REPORT.weights["step"][0].row == ("w", "Gather", "3 × 4", "float32", "a table")


def test_a_broken_report_is_refused():
    """The message names the field."""
    data = json.loads(json.dumps(REPORT.to_json()))
    data["calibration"]["measures"][0]["after"] = "many"
    with pytest.raises(ContractError) as caught:
        read(data)
    assert str(caught.value) == (
        "`m` has a contract that cannot be read: `precision.calibration.measures[0].after` is "
        "`many`; expected a finite number of at least 0. Export the model again."
    )
