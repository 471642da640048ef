"""The options of finished graphs."""

from __future__ import annotations

import pytest
from torch import nn

import edgernn
from edgernn.export import verify_artifact


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
