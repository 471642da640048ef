"""Small modules that keep something from call to call."""

from __future__ import annotations

from collections import deque

import torch
from torch import nn


class Base(nn.Module):
    """A GRU cell over (batch, 4); subclasses say what they keep."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.hidden: torch.Tensor | None = None

    def forward(self, x):
        self.hidden = self.cell(self.before(x), self.hidden)
        return self.after(self.hidden)

    def before(self, x):
        return x

    def after(self, y):
        return y


class NewBuffer(Base):
    def __init__(self):
        super().__init__()
        self.past: torch.Tensor
        self.register_buffer("past", torch.zeros(2, 4))

    def before(self, x):
        y = x + self.past
        self.past = x
        return y


class WrittenBuffer(NewBuffer):
    def before(self, x):
        y = x + self.past
        self.past[:] = x
        return y


class DataOfBuffer(NewBuffer):
    def before(self, x):
        y = x + self.past
        self.past.data.copy_(x)
        return y


class Past(Base):
    def __init__(self):
        super().__init__()
        self.past = deque([torch.zeros(2, 4)] * 3, maxlen=3)

    def before(self, x):
        self.past.append(x)
        return sum(self.past)


class Held(Base):
    def __init__(self):
        super().__init__()
        self.kept = Keeper()

    def before(self, x):
        y = x if self.kept.last is None else x + self.kept.last
        self.kept.last = x
        return y


class Keeper:
    def __init__(self):
        self.last = None


class Counter(Base):
    """Does something else at every call whose number `every` divides."""

    def __init__(self, every):
        super().__init__()
        self.every, self.count = every, 0

    def forward(self, x):
        self.count += 1
        y = self.cell(x)
        return -y if self.count % self.every == 0 else y


class Decayed(Base):
    def after(self, y):
        self.hidden = y / 2
        return y


class WrittenWeight(Base):
    def after(self, y):
        self.cell.bias_hh.data.mul_(0.9)
        return y


class Fed(Base):
    """Its last output is a part of the next input, beside a state of the cell's."""

    def __init__(self):
        super().__init__()
        self.cell, self.out, self.last = nn.GRUCell(6, 6), nn.Linear(6, 2), torch.zeros(2, 2)

    def before(self, x):
        return torch.cat((x, self.last), 1)

    def after(self, y):
        self.last = self.out(y)
        return self.last


class Cached(Base):
    """Makes a table at the first call and counts the calls; keeps what it gave out."""

    def __init__(self):
        super().__init__()
        self.table, self.calls, self.seen = None, 0, []

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(4.0)
        self.calls += 1
        self.seen.append(x)
        self.last = self.cell(x + self.table)
        return self.last


class Layers(nn.Module):
    """Keeps both states of its LSTM, from the first call on."""

    def __init__(self):
        super().__init__()
        self.rnn, self.hidden = nn.LSTM(4, 6, 2, batch_first=True), None

    def forward(self, x):
        y, self.hidden = self.rnn(x, self.hidden)
        return y


class Growing(Base):
    """Attends to all that it has seen."""

    def __init__(self):
        super().__init__()
        self.cache = torch.zeros(2, 0, 4)

    def before(self, x):
        self.cache = torch.cat((self.cache, x[:, None]), 1)
        return self.cache.mean(1)


class Ragged(nn.Module):
    """Keeps its whole last chunk."""

    def __init__(self):
        super().__init__()
        self.rnn, self.last = nn.GRU(4, 6, batch_first=True), torch.zeros(1, 1, 4)

    def forward(self, x):
        y, _ = self.rnn(x - self.last.mean(1, keepdim=True))
        self.last = x
        return y


class FirstFrame(Base):
    """Starts from its first input."""

    def __init__(self):
        super().__init__()
        self.level = None

    def before(self, x):
        self.level = x if self.level is None else 0.9 * self.level + 0.1 * x
        return x - self.level


class Toggled(Base):
    """A number of Python's decides which way forward goes."""

    def __init__(self):
        super().__init__()
        self.odd = False

    def before(self, x):
        self.odd = not self.odd
        return x if self.odd else -x


class Shared(Base):
    """One mean for all sequences of a batch."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(4)

    def before(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - self.mean


class Fails(Base):
    """Fails at every call after the first."""

    def before(self, x):
        assert self.hidden is None, "call reset() first"
        return x
