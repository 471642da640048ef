"""Models whose step takes a hop of several steps, answers later, or counts its hops."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Decoder", "FramedGru", "Positions"]


class FramedGru(nn.Module):
    """Scores for the frames of a signal with 3 channels."""

    def __init__(self, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.padding = padding
        self.frames = nn.Conv1d(3, 6, kernel, stride)
        self.gru = nn.GRU(6, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 5) for x (batch, steps, 3)."""
        padded = functional.pad(x.transpose(1, 2), (self.padding, self.padding))
        output: torch.Tensor = self.gru(self.frames(padded).transpose(1, 2))[0]
        return output


class Decoder(nn.Module):
    """A signal filtered frame by frame: a hop of samples comes out for each that goes in."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 6, 8, 4)
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.samples = nn.Linear(5, 4)

    def forward(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return samples, scores of each frame and of the last one for wave (batch, samples)."""
        scores = self.gru(self.frames(wave[:, None]).transpose(1, 2))[0]
        samples = self.samples(scores).reshape(len(wave), -1)
        return {"samples": samples, "scores": scores, "last": scores[:, -1]}


class Positions(nn.Module):
    """A sequence of at most 40 steps, each with a vector of its position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 3)
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, steps, 4) for x (batch, steps, 3)."""
        output: torch.Tensor = self.gru(x + self.embedding(torch.arange(x.shape[1])))[0]
        return output
