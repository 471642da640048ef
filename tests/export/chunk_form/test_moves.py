"""Transposes and new shapes: time is followed into axes that it shares with others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.export.chunk_form.streams import check

SPEC = "x:float32[batch,sequence,4]"

Function = Callable[[torch.Tensor], torch.Tensor]


class Moved(nn.Module):
    """A function that only moves elements, between a convolution and a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv1d(4, 6, 3)
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 6)."""
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        z: torch.Tensor = self.head(self.rnn(self.function(y))[0])
        return z


MOVES: dict[str, Function] = {
    "rows of batch and time": lambda y: y.reshape(-1, 6).tanh().reshape(y.shape[0], y.shape[1], 6),
    "rows of time and batch": lambda y: (
        y.transpose(0, 1).reshape(-1, 6).tanh().reshape(y.shape[1], y.shape[0], 6).transpose(0, 1)
    ),
    "groups of features": lambda y: (
        y.unflatten(2, (2, 3)).transpose(2, 3).flatten(2).unsqueeze(1).squeeze(1)
    ),
    "expanded": lambda y: y[:, :, None].expand(-1, -1, 3, -1).sum(2),
}


@pytest.mark.parametrize("name", MOVES)
def test_time_is_followed(name: str) -> None:
    """Moves need no state, and keep the delay."""
    check(Moved(MOVES[name]), SPEC, states=["conv_context", "position"], delay=2)
