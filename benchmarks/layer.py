"""The layer that the benchmarks measure."""

from __future__ import annotations

import torch

__all__ = ["Layer"]


class Layer(torch.nn.Module):
    """One recurrent layer over whole sequences, (batch, sequence, hidden) to the same shape."""

    def __init__(self, kind: str, hidden: int) -> None:
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(hidden, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run from a zero state and drop the final one."""
        output: torch.Tensor = self.rnn(x)[0]
        return output
