"""States that forward starts from: trained, computed, drawn."""

from __future__ import annotations

import torch
from torch import nn

from tests.models.case import Case


class TrainedStart(nn.Module):
    """A bidirectional layer with a trained initial state for each direction."""

    def __init__(self, kind=nn.GRU, hidden=6):
        super().__init__()
        self.kind = kind
        self.emb = nn.Embedding(12, 4)
        self.rnn = kind(4, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.h0 = nn.Parameter(torch.randn(4, 1, hidden) * 0.5)
        self.c0 = nn.Parameter(torch.randn(4, 1, hidden) * 0.5)
        self.fc = nn.Linear(2 * hidden, 3)

    def forward(self, ids):
        h0 = self.h0.expand(-1, ids.size(0), -1).contiguous()
        if self.kind is nn.LSTM:
            c0 = self.c0.repeat(1, ids.size(0), 1)
            y, _ = self.rnn(self.emb(ids), (h0, c0))
        else:
            y, _ = self.rnn(self.emb(ids), h0)
        return self.fc(y)


class TrainedTanhStart(nn.Module):
    """A trained start that goes through tanh, into cells of a loop."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.randn(8))
        self.cell = nn.LSTMCell(3, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        h = torch.tanh(self.start).unsqueeze(0).repeat(x.size(0), 1)
        c = torch.zeros_like(h)
        ys = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t, :], (h, c))
            ys.append(self.out(h))
        return torch.stack(ys, dim=1)


class RandomStart(nn.Module):
    """A random initial state, as a few tutorials have it."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.fc = nn.Linear(5, 1)

    def forward(self, x):
        h0 = torch.randn(1, x.size(0), 5)
        c0 = torch.randn(1, x.size(0), 5)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out)


CASES = (
    Case(
        "a trained start of a bidirectional GRU",
        "The learned values are the initial value of the state ports.",
        TrainedStart,
        "ids: int64[batch, sequence]; h[4, batch, 6] -> output: float32[batch, sequence, 3] "
        "(sequence)",
        symbols=12,
    ),
    Case(
        "a trained start of a bidirectional LSTM",
        "The same with h and c, one expanded and one repeated.",
        lambda: TrainedStart(nn.LSTM),
        "ids: int64[batch, sequence]; h[4, batch, 6], c[4, batch, 6] -> output: float32[batch, "
        "sequence, 3] (sequence)",
        symbols=12,
    ),
    Case(
        "a trained start of a loop",
        "The initial value is what forward computes from its parameters.",
        TrainedTanhStart,
        "x: float32[batch, sequence, 3]; h[batch, 8], c[batch, 8] -> output: float32[batch, "
        "sequence, 2] (sequence + step)",
    ),
)
