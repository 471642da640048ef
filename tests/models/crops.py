"""Forwards that look at the first or the last steps only."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from tests.models.case import Case


class Crop(nn.Module):
    """A layer over some of the steps, or some of what it gives out."""

    def __init__(self, before, after):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.before, self.after = before, after

    def forward(self, x):
        y, _ = self.rnn(x[:, self.before])
        return y[..., self.after, :]


class Window(nn.Module):
    """A convolution over the last two frames and the new ones; the last two go on."""

    def __init__(self):
        super().__init__()
        self.conv, self.rnn = nn.Conv1d(4, 8, 3), nn.GRU(8, 6, batch_first=True)

    def forward(self, x, past):
        window = torch.cat((past, x), 2)
        return self.rnn(self.conv(window).transpose(1, 2))[0], window[:, :, -2:]


CASES = tuple(
    Case(
        name,
        "Fewer steps than it keeps stay as they are; its axis has a name of its own.",
        partial(Crop, before, after),
        "x: float32[batch, sequence, 4]; h[1, batch, 6], c[1, batch, 6] -> output: "
        "float32[batch, output_dim1, 6] (sequence)",
        example=(2, 9),
        sizes=((1, 1), (3, 8), (2, 20), (2, 41)),
    )
    for name, before, after in (
        ("the last 20 steps", slice(-20, None), slice(None)),
        ("the first 8 steps, then the last 3", slice(None, 8), slice(-3, None)),
    )
)
