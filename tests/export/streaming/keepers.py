"""Small modules that keep something from call to call."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
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
        self.kept: Any = Keeper()

    def before(self, x):
        y = x if self.kept.last is None else x + self.kept.last
        self.kept.last = x
        return y


class Named(Held):
    """The same in a namespace."""

    def __init__(self):
        super().__init__()
        self.kept = SimpleNamespace(last=None)


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


class Text(nn.Module):
    """A text says what the next call does, beside a state that is an argument."""

    def __init__(self):
        super().__init__()
        self.cell, self.phase = nn.GRUCell(4, 6), "start"

    def forward(self, x, hidden):
        y = self.cell(x, hidden)
        y = y / 2 if self.phase == "start" else y
        self.phase = "on"
        return y


class Length(Text):
    """The length of a list counts the calls."""

    def __init__(self):
        super().__init__()
        self.log = []

    def forward(self, x, hidden):
        self.log.append(1.0)
        return self.cell(x, hidden) / len(self.log)


class Array(Text):
    """An array of NumPy's is replaced at every call."""

    def __init__(self):
        super().__init__()
        self.level = np.ones(6, np.float32)

    def forward(self, x, hidden):
        self.level = 0.9 * self.level
        return self.cell(x, hidden) * torch.from_numpy(self.level)


class Absent(Text):
    """There is nothing before the first call, and an object after it."""

    def __init__(self):
        super().__init__()
        self.first = None

    def forward(self, x, hidden):
        y = self.cell(x, hidden)
        y = y if self.first else y / 2
        self.first = "done"
        return y


class Marked(Text):
    """A tensor is the same after every call, but not before the first."""

    def __init__(self):
        super().__init__()
        self.warm = torch.zeros(1)

    def forward(self, x, hidden):
        y = torch.where(self.warm > 0, self.cell(x, hidden), self.cell(x, hidden) / 2)
        self.warm = torch.ones(1)
        return y


class Counted(Text):
    """What `Text` does, with a tensor that counts the calls."""

    def __init__(self):
        super().__init__()
        self.calls = torch.zeros(1)

    def forward(self, x, hidden):
        y = self.cell(x, hidden)
        y = torch.where(self.calls == 0, y / 2, y)
        self.calls = self.calls + 1
        return y


class Alarm(Base):
    """Is silent after a number that is larger than those of random data."""

    def __init__(self):
        super().__init__()
        self.alarm = torch.zeros(1, 1)

    def before(self, x):
        self.alarm = torch.maximum(self.alarm, (x.abs() > 60).float().amax(1, keepdim=True))
        return x * (1 - self.alarm)


class SecondCall(Base):
    """Reads every second input only, and holds it for two calls."""

    def __init__(self):
        super().__init__()
        self.count, self.held = torch.zeros((), dtype=torch.int64), torch.zeros(1, 4)

    def before(self, x):
        self.count = self.count + 1
        self.held = torch.where(self.count % 2 == 0, x, self.held)
        return self.held


class Delayed(Base):
    """Hands its inputs through two attributes, which are equal before the first call."""

    def __init__(self):
        super().__init__()
        self.older, self.newer = torch.zeros(1, 4), torch.zeros(1, 4)

    def before(self, x):
        y = x - self.older
        self.older, self.newer = self.newer, x
        return y


class Flagged(nn.Module):
    """Adds its last input where a flag of the call asks for it."""

    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.GRUCell(4, 6), torch.zeros(1, 4)

    def forward(self, x, hidden, add):
        y = x + torch.where(add, self.last, torch.zeros(()))
        self.last = x
        return self.cell(y, hidden)


class LeastSoFar(Base):
    """Starts from infinity."""

    def __init__(self):
        super().__init__()
        self.least = torch.full((1, 4), torch.inf)

    def before(self, x):
        self.least = torch.minimum(self.least, x)
        return x - self.least
