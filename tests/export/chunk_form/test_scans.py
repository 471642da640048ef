"""Scans and loops along time wait for their first frame."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.export.chunk_form.streams import check

SPEC = "x:float32[batch,sequence,4]"


class Projected(nn.Module):
    """A layer that is a Scan in ONNX, behind a convolution without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3)
        self.rnn = nn.LSTM(6, 8, proj_size=3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 3)."""
        result: torch.Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return result


class Loop(nn.Module):
    """A loop over the frames of a convolution without padding, which may have none."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=stride)
        self.cell = nn.Linear(11, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 5)."""
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        h, results = y.new_zeros(y.shape[0], 5), []
        for frame in range(y.shape[1]):
            h = torch.tanh(self.cell(torch.cat((y[:, frame], h), 1))) * 0.9 + 0.1 * h
            results.append(h)
        return torch.stack(results, 1)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_scan_waits_for_its_first_frame() -> None:
    """Its states stay as they are while frames are not defined."""
    check(Projected(), SPEC, states=["conv_context", "position"], delay=2)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_loop_waits_for_its_first_frame(stride: int) -> None:
    """A loop in Python over frames that come later starts with the first of them."""
    check(Loop(stride), SPEC, states=["conv_context", "position"], hop=stride)
