"""Small models whose step graphs have a form."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch

import edgernn

__all__ = ["Elman", "Lstm", "Tagger", "exported"]


class Lstm(torch.nn.Module):
    """One LSTM layer, (batch, sequence, 3) to (batch, sequence, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


class Elman(torch.nn.Module):
    """Two RNN layers in both directions, (batch, sequence, 3) to (batch, sequence, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.RNN(3, 4, 2, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state."""
        output: torch.Tensor = self.rnn(x)[0]
        return output


class Tagger(torch.nn.Module):
    """Embedding, two GRU layers and a head: ids (batch, sequence) to scores (…, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(7, 3)
        self.rnn = torch.nn.GRU(3, 4, 2, batch_first=True)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Run from a zero state."""
        scores: torch.Tensor = self.head(self.rnn(self.embedding(ids))[0])
        return scores


@functools.cache
def exported(kind: type[torch.nn.Module]) -> Any:
    """Return the artifact of a model, exported once per process; it must not be changed."""
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="step-forms-"))
    return edgernn.export_model(kind().eval(), folder / f"{kind.__name__.lower()}.edgernn")
