"""The eager reference, in float32 and in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import ParityError
from edgernn.export import verify_artifact


class Zeros(nn.Module):
    """A layer whose forward makes its own state, of a dtype that it may name."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.dtype = dtype
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs, `(batch, sequence, 4)`."""
        output: torch.Tensor = self.gru(x, torch.zeros(1, x.size(0), 4, dtype=self.dtype))[0]
        return output


@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["default", "float32"])
def test_other_weights_are_told_by_parity(dtype: torch.dtype | None, tmp_path: Path) -> None:
    """A model that differs fails with the difference, whether or not it runs in float64 too."""
    before = torch.get_default_dtype()
    artifact = edgernn.export_model(Zeros(dtype), tmp_path / "m.edgernn")
    with pytest.raises(ParityError, match=r"^The sequence graph does not agree with eager torch: "):
        verify_artifact(artifact, Zeros(dtype))
    assert torch.get_default_dtype() is before
