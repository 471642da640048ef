"""The options of finished graphs."""

from __future__ import annotations

import pytest
from torch import nn

import edgernn
from edgernn.export import verify_artifact
from edgernn.runtime.golden_replay import golden_report, require_passed


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("float16", 2e-2), ("int8", 5e-2)]
)
def test_verifying_holds_to_the_tolerance_of_the_weights(tmp_path, precision, tolerance):
    """What contract.json says of the tolerance is not believed: the weights' dtypes tell it."""
    model = nn.GRU(4, 8, batch_first=True)
    artifact = edgernn.export_model(
        model, tmp_path / "m.edgernn", precision=precision, verify=False
    )
    report = verify_artifact(artifact, model)
    assert report.tolerance == tolerance
    assert report.passed


@pytest.mark.parametrize(
    ("precision", "tolerance", "note"),
    [
        ("float32", 1e-5, ()),
        ("float16", 2e-2, ("Weights, states, real inputs and outputs are float16.",)),
        (
            "int8",
            5e-2,
            (
                "Weights are int8, multiplied in integers that saturate on no CPU, with one scale "
                "for each row or a constant one; layers of the sequence graph that are faster as "
                "LSTM, GRU and RNN compute in float32 with them. A state is taken within ±1.",
            ),
        ),
    ],
)
def test_an_artifact_that_was_not_verified_replays_its_golden_run(
    tmp_path, precision, tolerance, note
):
    """The run is torch's own, in float32; it is held to the tolerance of the precision."""
    artifact = edgernn.export_model(
        nn.GRU(4, 8, batch_first=True), tmp_path / "m.edgernn", precision=precision, verify=False
    )
    assert (artifact.parity, artifact.contract.notes) == (None, note)
    report = golden_report(edgernn.load(artifact.path))
    require_passed(report)
    assert report.tolerance == tolerance
    if precision != "float32":
        assert report.max_difference > 1e-5
