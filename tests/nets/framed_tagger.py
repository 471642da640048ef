"""A torch module that frames its input, and returns every step and the last one."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["FramedTagger"]


class FramedTagger(nn.Module):
    """Frames a signal if it has a kernel, and returns every step and the last one."""

    def __init__(self, kernel: int | None = None) -> None:
        super().__init__()
        self.framing = None if kernel is None else nn.Conv1d(3, 3, kernel, kernel // 2)
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.framing is not None:
            x = self.framing(x.transpose(1, 2)).transpose(1, 2)
        y, _ = self.rnn(x)
        return y, y[:, -1]
