"""What the user may ask of the graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

import edgernn
from edgernn.errors import InputError
from edgernn.export import verify_artifact


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"precision": "int4"},
            "`int4` is not a choice of precision; known are: float32, float16, int8.",
        ),
        (
            {"state_layout": "triton"},
            "`triton` is not a choice of state layout; known are: torch, batch-major.",
        ),
    ],
)
def test_unknown_choices_are_refused_before_the_model_is_read(
    option: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A choice that does not exist is named beside those that do."""
    with pytest.raises(InputError) as caught:
        edgernn.export_model(tmp_path / "absent.pt", **option)
    assert str(caught.value) == message


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
