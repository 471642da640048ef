"""A model that scores the next symbol."""

from __future__ import annotations

import torch
from torch import nn


class Scorer(nn.Module):
    """Scores each of six symbols as the one that follows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(6, 8)
        self.gru = nn.GRU(8, 16, batch_first=True)
        self.head = nn.Linear(16, 6)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, sequence, 6) of ids (batch, sequence)."""
        scores: torch.Tensor = self.head(self.gru(self.embedding(ids))[0])
        return scores
