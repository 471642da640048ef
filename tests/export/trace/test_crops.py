"""Slices of the last steps of a value whose size follows from that of the sequence."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import edgernn


class Upsampled(nn.Module):
    """Differences, convolved and upsampled; the last two of a size such as 2*sequence - 4 go."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv1d(4, 4, 3), nn.ConvTranspose1d(4, 4, 4, stride=2)
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, 2*sequence - 6, 4)."""
        x = self.conv((x[:, 1:] - x[:, :-1]).transpose(1, 2))
        y: torch.Tensor = self.rnn(self.up(x).transpose(1, 2)[:, :-2])[0]
        return y


def test_a_slice_up_to_the_last_steps_stays(tmp_path: Path) -> None:
    """At one step the value would have a negative size; at others the slice is right."""
    artifact = edgernn.export_model(
        Upsampled(), tmp_path / "m.edgernn", inputs=["x:float32[batch,sequence,4]"]
    )
    assert artifact.contract.sequence is not None
    assert artifact.parity is not None
    assert artifact.parity.passed
