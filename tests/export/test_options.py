"""What the user may ask of the graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edgernn
from edgernn.errors import InputError


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
