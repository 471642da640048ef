"""A model that counts its calls: the state is a number, and a call is a chunk."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["CallCounter"]


class CallCounter(nn.Module):
    """A GRU whose outputs grow with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.tensor(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 4) for x (batch, steps, 3)."""
        self.calls = self.calls + 1
        output: torch.Tensor = self.gru(x)[0]
        return output * self.calls
