"""The precisions that `export_model` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import edgernn
from edgernn.errors import UnsupportedModelError


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_other_precisions_are_refused(precision: str, tmp_path: Path) -> None:
    """A precision that is not written is refused by name, and nothing stays on disk."""
    message = f"`{precision}` is not a precision that graphs can be written in; known is: float32."
    with pytest.raises(UnsupportedModelError, match=f"^{re.escape(message)}$"):
        edgernn.export_model(torch.nn.LSTM(2, 3), tmp_path / "m.edgernn", precision=precision)
    assert list(tmp_path.iterdir()) == []
