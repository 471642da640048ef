"""Models that keep memory between calls, as people write them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


class StatefulLSTM(nn.Module):
    """`self.hidden`, None at first, detached at every call."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head, self.hidden = (
            nn.LSTM(4, 6, 2, batch_first=True),
            nn.Linear(6, 3),
            None,
        )

    def forward(self, x):
        y, hidden = self.lstm(x, self.hidden)
        self.hidden = tuple(one.detach() for one in hidden)
        return self.head(y)


class InitHidden(nn.Module):
    """The tutorial's `init_hidden`, called where the batch changes."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)
        self.hidden = self.init_hidden(1)

    def init_hidden(self, batch):
        return torch.zeros(1, batch, 6), torch.zeros(1, batch, 6)

    def forward(self, x):
        if self.hidden[0].size(1) != x.size(0):
            self.hidden = self.init_hidden(x.size(0))
        y, self.hidden = self.lstm(x, self.hidden)
        return self.head(y[:, -1])


class LearnedStart(nn.Module):
    """Starts from a learned value where there is no state yet."""

    def __init__(self):
        super().__init__()
        self.cell, self.start, self.h = nn.GRUCell(4, 6), nn.Parameter(torch.randn(1, 6)), None

    def forward(self, x):
        if self.h is None:
            self.h = self.start.expand(x.shape[0], -1)
        self.h = self.cell(x, self.h)
        return self.h


class ByAttribute(nn.Module):
    """The state appears with the first call: `hasattr`."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 6)

    def forward(self, x):
        if not hasattr(self, "h"):
            self.h = x.new_zeros(x.shape[0], 6)
            self.c = x.new_zeros(x.shape[0], 6)
        self.h, self.c = self.cell(x, (self.h, self.c))
        return self.h


class FirstCallFlag(nn.Module):
    """A flag says whether there is a state."""

    def __init__(self):
        super().__init__()
        self.rnn, self.started, self.h = nn.GRU(4, 6, batch_first=True), False, None

    def forward(self, x):
        if not self.started:
            self.h = torch.zeros(1, x.shape[0], 6)
            self.started = True
        y, self.h = self.rnn(x, self.h)
        return y


class LayerList(nn.Module):
    """A list of states, one for each cell."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(4, 5), nn.GRUCell(5, 6)])
        self.states = [None, None]

    def forward(self, x):
        for place, cell in enumerate(self.cells):
            x = self.states[place] = cell(x, self.states[place])
        return x


class StateDictionary(nn.Module):
    """A dict with a pair in it."""

    def __init__(self):
        super().__init__()
        self.cell, self.state = nn.LSTMCell(4, 6), {"lstm": None, "last": None}

    def forward(self, x):
        last = torch.zeros_like(x) if self.state["last"] is None else self.state["last"]
        self.state["lstm"] = self.cell(x - last, self.state["lstm"])
        self.state["last"] = x
        return self.state["lstm"][0]


@dataclass
class Kept:
    level: torch.Tensor
    slope: torch.Tensor


class HoltSmoothing(nn.Module):
    """An object of the model's own holds level and slope."""

    def __init__(self):
        super().__init__()
        self.kept = Kept(torch.zeros(1, 3), torch.zeros(1, 3))
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        level = 0.3 * x + 0.7 * (self.kept.level + self.kept.slope)
        self.kept.slope = 0.1 * (level - self.kept.level) + 0.9 * self.kept.slope
        self.kept.level = level
        return self.out(torch.cat((level, self.kept.slope), 1))


class FrameStack(nn.Module):
    """The last frames in a deque, zeros at first."""

    def __init__(self):
        super().__init__()
        self.frames = deque([torch.zeros(1, 4)] * 3, maxlen=3)
        self.policy = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, obs):
        self.frames.append(obs)
        return self.policy(torch.cat(list(self.frames), 1))


class RollingBuffer(nn.Module):
    """`torch.roll`, then the newest entry is written in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("history", torch.zeros(1, 5, 4))
        self.gru, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, obs):
        self.history = torch.roll(self.history, -1, 1)
        self.history[:, -1] = obs
        return self.head(self.gru(self.history)[0][:, -1])


class ShiftedSlice(nn.Module):
    """A slice moves over itself, in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.zeros(1, 6))
        self.out = nn.Linear(6, 1)

    def forward(self, x):
        self.window[:, :-1] = self.window[:, 1:].clone()
        self.window[:, -1:] = x
        return self.out(self.window)


class CopiedState(nn.Module):
    """`copy_` into a buffer."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.register_buffer("state", torch.zeros(1, 6))

    def forward(self, x):
        self.state.copy_(self.cell(x, self.state))
        return 2 * self.state


class WrittenThroughData(nn.Module):
    """`.data.copy_` into a buffer that is not zero at rest."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 2)
        self.register_buffer("level", torch.full((1, 4), 0.5))

    def forward(self, x):
        level = 0.9 * self.level + 0.1 * x
        self.level.data.copy_(level)
        return self.out(x / (level.abs() + 1))


class Encoder(nn.Module):
    def __init__(self, inputs, size):
        super().__init__()
        self.rnn, self.memory = nn.GRU(inputs, size, batch_first=True), None

    def forward(self, x):
        y, self.memory = self.rnn(x, self.memory)
        return y


class TwoSubmodules(nn.Module):
    """Each submodule keeps its own state."""

    def __init__(self):
        super().__init__()
        self.low, self.high = Encoder(4, 5), Encoder(5, 6)

    def forward(self, x):
        return self.high(self.low(x))


class CausalConvolution(nn.Module):
    """A streaming convolution keeps the samples that the next chunk needs."""

    def __init__(self):
        super().__init__()
        self.conv, self.past = nn.Conv1d(3, 5, 4), None
        self.rnn = Encoder(5, 6)

    def forward(self, x):
        past = x.new_zeros(x.shape[0], 3, 3) if self.past is None else self.past
        padded = torch.cat((past, x), 1)
        self.past = padded[:, -3:]
        return self.rnn(self.conv(padded.transpose(1, 2)).relu().transpose(1, 2))


class RestartedLayer(nn.Module):
    """A running level is kept; the layer starts from zeros at every call."""

    def __init__(self):
        super().__init__()
        self.rnn, self.level = nn.GRU(4, 6, batch_first=True), torch.zeros(1, 1, 4)

    def forward(self, x):
        y, _ = self.rnn(x - self.level)
        self.level = x[:, -1:]
        return y


class RunningPeak(nn.Module):
    """Divides by the largest value so far, once for each call."""

    def __init__(self):
        super().__init__()
        self.rnn, self.peak, self.h = nn.GRU(4, 6, batch_first=True), torch.ones(1, 1, 1), None

    def forward(self, x):
        self.peak = torch.maximum(0.99 * self.peak, x.abs().amax((1, 2), keepdim=True))
        y, self.h = self.rnn(x / self.peak, self.h)
        return y


class FedBack(nn.Module):
    """The last output is a part of the next input."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRUCell(6, 8), nn.Linear(8, 2)
        self.h, self.last = torch.zeros(1, 8), torch.zeros(1, 2)

    def forward(self, x):
        self.h = self.cell(torch.cat((x, self.last), 1), self.h)
        self.last = torch.tanh(self.out(self.h))
        return self.last


class LoopOverSteps(nn.Module):
    """A loop over the steps of a chunk, from where the last chunk ended."""

    def __init__(self):
        super().__init__()
        self.cell, self.h = nn.GRUCell(4, 6), None

    def forward(self, x):
        rows = []
        for step in x.unbind(1):
            self.h = self.cell(step, self.h)
            rows.append(self.h)
        return torch.stack(rows, 1)


class LeakyNeuron(nn.Module):
    """A spiking neuron: membrane potential and last spike."""

    def __init__(self):
        super().__init__()
        self.fc, self.membrane, self.spike = nn.Linear(4, 6), 0.0, 0.0

    def forward(self, x):
        self.membrane = 0.9 * self.membrane + self.fc(x) - self.spike
        self.spike = (self.membrane > 1).float()
        return self.spike, self.membrane


class Reservoir(nn.Module):
    """An echo state network with its state in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w_in", torch.randn(10, 3) / 2)
        self.register_buffer("w", torch.randn(10, 10) / 5)
        self.register_buffer("state", torch.zeros(10))
        self.out = nn.Linear(10, 1)

    def forward(self, u):
        self.state = torch.tanh(self.w_in @ u + self.w @ self.state)
        return self.out(self.state)


class DifferentStarts(nn.Module):
    """Mixes a state from the outside with one of its own."""

    def __init__(self):
        super().__init__()
        self.rnn, self.past = nn.GRU(8, 6, batch_first=True), None

    def forward(self, x, h):
        past = torch.zeros_like(x[:, :1]) if self.past is None else self.past
        before = torch.cat((past, x[:, :-1]), 1)
        self.past = x[:, -1:]
        return self.rnn(torch.cat((x, before), 2), h)


class StreamingPad(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.size = size
        self.register_buffer("pad", torch.zeros(1, channels, size))

    def forward(self, x):
        x = torch.cat((self.pad, x), 2)
        self.pad = x[..., -self.size :]
        return x


class GatedConvolution(nn.Module):
    """A pad layer of a library's kind: the buffer is written by a submodule."""

    def __init__(self):
        super().__init__()
        self.pads = nn.ModuleList([StreamingPad(3, 2), StreamingPad(6, 4)])
        self.convs = nn.ModuleList([nn.Conv1d(3, 6, 3), nn.Conv1d(6, 2, 3, dilation=2)])

    def forward(self, x):
        for pad, conv in zip(self.pads, self.convs):
            x = F.elu(conv(pad(x)))
        return x


class KeyValueWindow(nn.Module):
    """Attends to the keys and values of the last steps."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("keys", torch.zeros(1, 5, 4))
        self.register_buffer("values", torch.zeros(1, 5, 4))

    def forward(self, x):
        self.keys = torch.cat((self.keys[:, 1:], self.key(x)[:, None]), 1)
        self.values = torch.cat((self.values[:, 1:], self.value(x)[:, None]), 1)
        weights = torch.softmax((self.query(x)[:, None] * self.keys).sum(-1), 1)
        return (weights[..., None] * self.values).sum(1)


class TwoWaysInAChunk(nn.Module):
    """A layer in both directions over a chunk and the end of the last one."""

    def __init__(self):
        super().__init__()
        self.past = torch.zeros(1, 3, 4)
        self.rnn = nn.GRU(4, 6, batch_first=True, bidirectional=True)

    def forward(self, x):
        padded = torch.cat((self.past, x), 1)
        self.past = padded[:, -3:]
        return self.rnn(padded)[0][:, 3:]
