"""Two layers of a GRU with a learned initial state, over ids and numbers."""

from __future__ import annotations

import torch
from torch import nn


class LearnedStart(nn.Module):
    """The layers, without a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.gru = nn.GRU(6, 5, num_layers=2, batch_first=True)
        self.start = nn.Parameter(torch.linspace(-1, 1, 10).reshape(2, 1, 5))

    def scores(self, ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 5) for `ids` (batch, steps) and `x` (batch, steps, 2)."""
        joined = torch.cat([self.embedding(ids), x], 2)
        output: torch.Tensor = self.gru(joined, self.start.expand(-1, x.size(0), -1).contiguous())[
            0
        ]
        return output
