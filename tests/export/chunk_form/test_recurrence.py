"""Layers along time wait for their first frame; those over other axes start anew in each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.export.chunk_form.streams import check

SPEC = "x:float32[batch,sequence,4]"


class Valid(nn.Module):
    """A convolution without padding before layers of some kind."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, **options)
        self.rnn = getattr(nn, kind)(6, 8, num_layers=2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        result: torch.Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return result


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("stride", [1, 2])
def test_layers_wait_for_their_first_frame(kind: str, stride: int) -> None:
    """A layer keeps its initial state until the first frame that is defined."""
    check(Valid(kind, stride=stride), SPEC, delay=2 // stride, hop=stride)


class OverBins(nn.Module):
    """A layer in both directions over the bins of each frame, before one over time for each bin."""

    def __init__(self, stride: int, bins_first: bool) -> None:
        super().__init__()
        self.bins_first = bins_first
        self.conv = nn.Conv2d(1, 3, (3, 3), stride=(stride, 1), padding=(0, 1))
        self.intra = nn.GRU(3, 4, batch_first=True, bidirectional=True)
        self.inter = nn.GRU(8, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 4, 5)."""
        y = self.conv(x[:, None])
        batch, channels, frames, bins = y.shape
        y = y.permute(0, 2, 3, 1).reshape(batch * frames, bins, channels)
        y = self.intra(y)[0].reshape(batch, frames, bins, 8)
        order = (2, 0, 1, 3) if self.bins_first else (0, 2, 1, 3)
        y = y.permute(*order).reshape(batch * bins, frames, 8)
        result: torch.Tensor = self.inter(y)[0]
        if self.bins_first:
            return result.reshape(bins, batch, frames, 5).permute(1, 2, 0, 3)
        return result.reshape(batch, bins, frames, 5).permute(0, 2, 1, 3)


@pytest.mark.parametrize("bins_first", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_each_bin_waits_for_the_first_frame_of_its_sequence(stride: int, bins_first: bool) -> None:
    """A layer whose batch is batch · bins keeps the states of all bins of a sequence."""
    form = check(OverBins(stride, bins_first), SPEC, hop=stride, delay=2 // stride)
    assert [state.name for state in form.contexts] == ["conv_context", "position"]
