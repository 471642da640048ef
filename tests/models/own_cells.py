"""Recurrences written by hand as one step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.models.case import Case, by_steps


class ClassicRNN(nn.Module):
    """The names classifier: i2h and i2o over the concatenation."""

    def __init__(self, input_size=7, hidden_size=10, output_size=4):
        super().__init__()
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        combined = torch.cat((input, hidden), 1)
        hidden = self.i2h(combined)
        output = self.softmax(self.i2o(combined))
        return output, hidden


class PeepholeLSTM(nn.Module):
    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.x = nn.Linear(inp, 4 * hid)
        self.h = nn.Linear(hid, 4 * hid, bias=False)
        self.p = nn.Parameter(torch.randn(3, hid) * 0.3)

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.x(x) + self.h(h)).chunk(4, dim=1)
        i = torch.sigmoid(i + self.p[0] * c)
        f = torch.sigmoid(f + self.p[1] * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + self.p[2] * c)
        h = o * torch.tanh(c)
        return h, (h, c)


class MinimalGated(nn.Module):
    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.f = nn.Linear(inp + hid, hid)
        self.g = nn.Linear(inp + hid, hid)

    def forward(self, x, h):
        f = torch.sigmoid(self.f(torch.cat([x, h], -1)))
        g = torch.tanh(self.g(torch.cat([x, f * h], -1)))
        return (1 - f) * h + f * g


class NormedLSTM(nn.Module):
    """LayerNorm on gates and cell, as in the LayerNorm paper."""

    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.wx = nn.Linear(inp, 4 * hid, bias=False)
        self.wh = nn.Linear(hid, 4 * hid, bias=False)
        self.nx, self.nh = nn.LayerNorm(4 * hid), nn.LayerNorm(4 * hid)
        self.nc = nn.LayerNorm(hid)

    def forward(self, x, h, c):
        i, f, g, o = torch.split(self.nx(self.wx(x)) + self.nh(self.wh(h)), h.size(1), dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * self.nc(c).tanh()
        return h, c


class Multiplicative(nn.Module):
    """mLSTM: an intermediate state by a product of input and hidden projections."""

    def __init__(self, inp=3, hid=6):
        super().__init__()
        self.mx, self.mh = nn.Linear(inp, hid, bias=False), nn.Linear(hid, hid, bias=False)
        self.gates = nn.Linear(inp + hid, 4 * hid)
        self.out = nn.Linear(hid, 2)

    def forward(self, x, state):
        h, c = state[0], state[1]
        m = self.mx(x) * self.mh(h)
        i, f, o, u = self.gates(torch.cat([x, m], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
        h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h), torch.stack((h, c))


class Zoneout(nn.Module):
    """A GRUCell whose state is mixed with the one before."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x, h):
        new = self.cell(x, h)
        if self.training:
            mask = torch.rand_like(h) < 0.2
            h = torch.where(mask, h, new)
        else:
            h = 0.2 * h + 0.8 * new
        return self.head(h), h


class SmallCell(nn.Module):
    """Sizes that coincide: as many features as units."""

    def __init__(self):
        super().__init__()
        self.w = nn.Linear(4, 4)
        self.u = nn.Linear(4, 4)

    def forward(self, x, h):
        h = torch.tanh(self.w(x) + self.u(h))
        return h


def trained_classifier():
    model = ClassicRNN()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(20):
        label = torch.randint(4, (5,))
        x = F.one_hot(label, 7).float()[:, None].repeat(1, 3, 1) + 0.1 * torch.randn(5, 3, 7)
        hidden = torch.zeros(5, 10)
        for t in range(3):
            output, hidden = model(x[:, t], hidden)
        loss = F.nll_loss(output, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def zeros(*shape):
    """Return what makes a first state of zeros; the size None is the batch."""
    return lambda batch: torch.zeros(*(batch if size is None else size for size in shape))


def pair(batch):
    return torch.zeros(batch, 6), torch.zeros(batch, 6)


def of_the_state(model, x, state):
    state = model(x, state)
    return state, state


def of_two_states(model, x, states):
    h, c = model(x, *states)
    return h, (h, c)


_PEEPHOLES = (
    "x: float32[batch, sequence, 3]; state_0[batch, 6], state_1[batch, 6] -> output: "
    "float32[batch, sequence, 6] (sequence + step)"
)

CASES = (
    Case(
        "a trained classifier of names",
        "A recurrence of Linear layers is recognised without its states being named.",
        trained_classifier,
        "input: float32[batch, sequence, 7]; hidden[batch, 10] -> output: float32[batch, "
        "sequence, 4] (sequence + step)",
        example=lambda: (torch.randn(1, 7), torch.zeros(1, 10)),
        call=by_steps(zeros(None, 10)),
    ),
    Case(
        "peepholes, recognised",
        "H is output and state.",
        PeepholeLSTM,
        _PEEPHOLES,
        example=lambda: (torch.randn(2, 3), pair(2)),
        call=by_steps(pair),
    ),
    Case(
        "peepholes, named",
        "States are named by paths into tuples.",
        PeepholeLSTM,
        _PEEPHOLES,
        example=lambda: (torch.randn(2, 3), pair(2)),
        call=by_steps(pair),
        options={"states": {"state[0]": "[1][0]", "state[1]": "[1][1]"}},
    ),
    Case(
        "a minimal gated unit",
        "The state is all that comes back.",
        MinimalGated,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)",
        example=lambda: (torch.randn(2, 3), torch.zeros(2, 6)),
        call=by_steps(zeros(None, 6), of_the_state),
    ),
    Case(
        "a layer-normalised LSTM",
        "Which of two states of one shape is which has to be named.",
        NormedLSTM,
        "x: float32[batch, sequence, 3]; h[batch, 6], c[batch, 6] -> output: float32[batch, "
        "sequence, 6] (sequence + step)",
        example=lambda: (torch.randn(2, 3), *pair(2)),
        call=by_steps(pair, of_two_states),
        options={"states": {"h": 0, "c": 1}},
    ),
    Case(
        "a multiplicative LSTM with a stacked state",
        "[2, batch, hidden] in one tensor is recognised.",
        Multiplicative,
        "x: float32[batch, sequence, 3]; state[2, batch, 6] -> output: float32[batch, "
        "sequence, 2] (sequence + step)",
        example=lambda: (torch.randn(3, 3), torch.zeros(2, 3, 6)),
        call=by_steps(zeros(2, None, 6)),
    ),
    Case(
        "zoneout around a cell",
        "The state that comes back is computed from the cell's, not the cell's itself.",
        Zoneout,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 2] "
        "(sequence + step)",
        example=lambda: (torch.randn(2, 3), torch.zeros(2, 6)),
        call=by_steps(zeros(None, 6)),
    ),
    Case(
        "a cell as wide as its input",
        "Input and state have one shape; only one is called like a state.",
        SmallCell,
        "x: float32[batch, sequence, 4]; h[batch, 4] -> output: float32[batch, sequence, 4] "
        "(sequence + step)",
        example=lambda: (torch.randn(2, 4), torch.zeros(2, 4)),
        call=by_steps(zeros(None, 4), of_the_state),
        options={"states": {"h": 0}},
    ),
)
