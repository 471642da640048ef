"""Models that keep numbers, flags and places in buffers between calls, as people write them."""

from __future__ import annotations

import torch
from torch import nn


class TensorCounter(nn.Module):
    """An int64 buffer counts the calls; the output is corrected for its bias, as Adam's is."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(1, 4))
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * x
        return self.out(self.mean / (1 - 0.9**self.count))


class PythonCounter(nn.Module):
    """A Python int counts the calls and scales the output."""

    def __init__(self):
        super().__init__()
        self.cell, self.calls, self.h = nn.GRUCell(4, 6), 0, None

    def forward(self, x):
        self.calls += 1
        self.h = self.cell(x, self.h)
        return self.h * (1 - 0.5**self.calls)


class RingBuffer(nn.Module):
    """A ring buffer with a tensor for its index."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ring", torch.zeros(1, 4, 3))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))
        self.out = nn.Linear(12, 2)

    def forward(self, x):
        self.ring = self.ring.index_copy(1, self.place, x[:, None])
        self.place = (self.place + 1) % 4
        return self.out(self.ring.flatten(1))


class PythonRing(nn.Module):
    """A ring buffer with a Python int for its index."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ring", torch.zeros(1, 4, 3))
        self.place, self.out = 0, nn.Linear(12, 2)

    def forward(self, x):
        self.ring[:, self.place] = x
        self.place = (self.place + 1) % 4
        return self.out(self.ring.flatten(1))


class PositionEmbedding(nn.Module):
    """A tensor counts the tokens and looks up their positions."""

    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Embedding(9, 4), nn.Embedding(4000, 4)
        self.cell, self.h = nn.GRUCell(4, 6), None
        self.register_buffer("position", torch.zeros(1, dtype=torch.int64))

    def forward(self, token):
        x = self.token(token) + self.place(self.position)
        self.position = self.position + 1
        self.h = self.cell(x, self.h)
        return self.h


class LatchedFlag(nn.Module):
    """A bool tensor remembers whether the level was ever high."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 1, dtype=torch.bool))
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        self.seen = self.seen | (x.amax(1, keepdim=True) > 1.5)
        return torch.where(self.seen, self.out(x), torch.zeros(()))


class Unread(nn.Module):
    """Counts its calls, keeps its last output and a cache; reads only its state."""

    def __init__(self):
        super().__init__()
        self.cell, self.h = nn.GRUCell(4, 6), None
        self.calls, self.log, self.table = 0, [], None

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(4.0)
        self.calls += 1
        self.log.append(float(self.calls))
        self.h = self.cell(x + self.table, self.h)
        self.last = self.h * 2
        return self.last


class RunningNorm(nn.Module):
    """Welford's mean and variance of single frames, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.count, self.mean, self.m2 = 0, torch.zeros(1, 4), torch.zeros(1, 4)
        self.cell, self.h = nn.LSTMCell(4, 6), None

    def forward(self, x):
        self.count += 1
        delta = x - self.mean
        self.mean = self.mean + delta / self.count
        self.m2 = self.m2 + delta * (x - self.mean)
        x = (x - self.mean) / torch.sqrt(self.m2 / self.count + 1e-2)
        self.h = self.cell(x, self.h)
        return self.h[0]


class EpisodeEnds(nn.Module):
    """An input says where an episode ended: the state is zero then."""

    def __init__(self):
        super().__init__()
        self.cell, self.h = nn.GRUCell(4, 6), None

    def forward(self, x):
        if self.h is None:
            self.h = x.new_zeros(x.shape[0], 6)
        self.h = self.cell(x, self.h * (x[:, :1] > 0))
        return self.h


class LastChoice(nn.Module):
    """The last choice, an id, is embedded as a part of the next input."""

    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.out = nn.Embedding(7, 4), nn.GRUCell(8, 6), nn.Linear(6, 7)
        self.h, self.last = torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64)

    def forward(self, x):
        self.h = self.cell(torch.cat((x, self.embed(self.last)), 1), self.h)
        y = self.out(self.h)
        self.last = y.argmax(1)
        return y


class ResetByToken(nn.Module):
    """A token ends a sentence: the state of its sequence is then zero again."""

    def __init__(self):
        super().__init__()
        self.embedding, self.cell, self.h = nn.Embedding(9, 4), nn.GRUCell(4, 6), None

    def forward(self, token):
        if self.h is None:
            self.h = torch.zeros(len(token), 6)
        self.h = self.cell(self.embedding(token), self.h * (token != 3).float()[:, None])
        return self.h
