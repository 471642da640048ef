"""Loops over time around cells, as people write them."""

from __future__ import annotations

import torch
from torch import nn

from tests.models.case import Case


class StackedCells(nn.Module):
    """Layers of LSTM cells in a ModuleList: a loop over layers inside the loop over time."""

    def __init__(self, inp=3, hidden=6, layers=3):
        super().__init__()
        self.hidden = hidden
        self.cells = nn.ModuleList(
            [nn.LSTMCell(inp if i == 0 else hidden, hidden) for i in range(layers)]
        )
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(hidden, 2)

    def forward(self, x):
        h = [torch.zeros(x.size(0), self.hidden, device=x.device) for _ in self.cells]
        c = [torch.zeros(x.size(0), self.hidden, device=x.device) for _ in self.cells]
        outputs = []
        for t in range(x.size(1)):
            inp = x[:, t, :]
            for i, cell in enumerate(self.cells):
                h[i], c[i] = cell(inp, (h[i], c[i]))
                inp = self.drop(h[i])
            outputs.append(inp.unsqueeze(1))
        return self.fc(torch.cat(outputs, dim=1))


class Preallocated(nn.Module):
    """Writes each step into a tensor made beforehand, time-major, returns the state too."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 6)

    def forward(self, x, hx=None):
        steps, batch, _ = x.shape
        if hx is None:
            hx = x.new_zeros(batch, 6)
        out = torch.empty(steps, batch, 6)
        for t in range(steps):
            hx = self.cell(x[t], hx)
            out[t] = hx
        return out, hx


class PreallocatedBatchFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(3, 6)

    def forward(self, x):
        h = torch.zeros(x.size(0), 6)
        out = torch.zeros(x.size(0), x.size(1), 6)
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            out[:, t] = h
        return out


class UnbindLast(nn.Module):
    """Loops over `x.unbind(1)` and returns the last step's scores only."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(3, 5)
        self.cell = nn.LSTMCell(5, 6)
        self.bn = nn.BatchNorm1d(6)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        state = None
        for frame in x.unbind(dim=1):
            state = self.cell(torch.relu(self.inp(frame)), state)
        return self.fc(self.bn(state[0]))


class TwoWays(nn.Module):
    """A bidirectional loop with two cells, the second from the end."""

    def __init__(self):
        super().__init__()
        self.forward_cell = nn.LSTMCell(3, 5)
        self.backward_cell = nn.LSTMCell(3, 5)
        self.out = nn.Linear(10, 2)

    def forward(self, x):
        b, steps, _ = x.shape
        hf, cf = torch.zeros(b, 5), torch.zeros(b, 5)
        hb, cb = torch.zeros(b, 5), torch.zeros(b, 5)
        fwd, bwd = [], []
        for t in range(steps):
            hf, cf = self.forward_cell(x[:, t], (hf, cf))
            fwd.append(hf)
        for t in reversed(range(steps)):
            hb, cb = self.backward_cell(x[:, t], (hb, cb))
            bwd.insert(0, hb)
        return self.out(torch.cat([torch.stack(fwd, 1), torch.stack(bwd, 1)], -1))


class Backward(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x):
        h = torch.zeros(x.size(0), 5)
        outs = []
        for t in range(x.size(1) - 1, -1, -1):
            h = self.cell(x[:, t], h)
            outs.append(h)
        return torch.stack(outs[::-1], 1)


class FeedsOutputBack(nn.Module):
    """Carries its own last output besides the cell's state (input feeding)."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(5, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        h, c = torch.zeros(x.size(0), 6), torch.zeros(x.size(0), 6)
        y = torch.zeros(x.size(0), 2)
        ys = []
        for t in range(x.size(1)):
            h, c = self.cell(torch.cat([x[:, t], y], 1), (h, c))
            y = torch.tanh(self.out(h))
            ys.append(y)
        return torch.stack(ys, 1)


class RunningMean(nn.Module):
    """Counts its steps: what step 3 does is not what step 2 does."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 6)

    def forward(self, x):
        h, total = torch.zeros(x.size(0), 6), 0.0
        means = []
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            total = total + h
            means.append(total / (t + 1))
        return torch.stack(means, 1)


class ResidualCells(nn.Module):
    """Layer-normalised, residual: two kinds of cells in one step."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(15, 6)
        self.gru = nn.GRUCell(6, 6)
        self.norm = nn.LayerNorm(6)
        self.lstm = nn.LSTMCell(6, 6)
        self.out = nn.Linear(6, 15)

    def forward(self, ids):
        b, t = ids.shape
        hg = torch.zeros(b, 6)
        hl, cl = torch.zeros_like(hg), torch.zeros_like(hg)
        logits = []
        for step in range(t):
            e = self.embed(ids[:, step])
            hg = self.gru(e, hg)
            hl, cl = self.lstm(self.norm(e + hg), (hl, cl))
            logits.append(self.out(hl + hg))
        return torch.stack(logits).transpose(0, 1)


class ZoneoutLoop(nn.Module):
    """Zoneout mixes old and new state in eval mode: the state is changed between steps."""

    def __init__(self, p=0.1):
        super().__init__()
        self.cell = nn.LSTMCell(3, 6)
        self.p = p

    def forward(self, x):
        h, c = torch.zeros(x.size(0), 6), torch.zeros(x.size(0), 6)
        hs = []
        for t in range(x.size(1)):
            nh, nc = self.cell(x[:, t], (h, c))
            h = self.p * h + (1 - self.p) * nh
            c = self.p * c + (1 - self.p) * nc
            hs.append(h)
        return torch.stack(hs, 1)


class NoBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 6, bias=False)

    def forward(self, x):
        state, outputs = None, []
        for x_t in x.unbind(1):
            state = self.cell(x_t, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)


CASES = (
    Case(
        "stacked cells in two loops",
        "Every cell's state is a port; outputs joined by torch.cat have the steps.",
        StackedCells,
        "x: float32[batch, sequence, 3]; cells_0_h[batch, 6], cells_0_c[batch, 6], "
        "cells_1_h[batch, 6], cells_1_c[batch, 6], cells_2_h[batch, 6], cells_2_c[batch, 6] -> "
        "output: float32[batch, sequence, 2] (sequence + step)",
    ),
    Case(
        "outputs written into a tensor",
        "`out[t] = h` into a preallocated tensor.",
        Preallocated,
        "x: float32[sequence, batch, 3]; h[batch, 6] -> output: float32[sequence, batch, 6] "
        "(sequence + step)",
        example=(2, 5),
        call=lambda model, x: model(x)[0],
    ),
    Case(
        "outputs written into a batch-first tensor",
        "`out[:, t] = h`.",
        PreallocatedBatchFirst,
        "x: float32[batch, sequence, 3]; h[batch, 6] -> output: float32[batch, sequence, 6] "
        "(sequence + step)",
    ),
    Case(
        "a loop that starts from no state and gives its last step",
        "The state is None before the first step.",
        UnbindLast,
        "x: float32[batch, sequence, 3]; h[batch, 6], c[batch, 6] -> output: float32[batch, 2] "
        "(sequence + step)",
    ),
    Case(
        "a loop from each end",
        "A sequence graph alone: the second loop begins at the end.",
        TwoWays,
        "x: float32[batch, sequence, 3]; forward_cell_h[batch, 5], forward_cell_c[batch, 5], "
        "backward_cell_h[batch, 5], backward_cell_c[batch, 5] -> output: float32[batch, "
        "sequence, 2] (sequence)",
    ),
    Case(
        "a loop from the end",
        "Its outputs are turned round once more by forward.",
        Backward,
        "x: float32[batch, sequence, 3]; h[batch, 5] -> output: float32[batch, sequence, 5] "
        "(sequence)",
    ),
    Case(
        "a loop that carries its output",
        "What is fed back is a state beside those of the cell.",
        FeedsOutputBack,
        "x: float32[batch, sequence, 3]; loop_h[batch, 2], cell_h[batch, 6], cell_c[batch, 6] "
        "-> output: float32[batch, sequence, 2] (sequence + step)",
        example=(2, 5),
    ),
    Case(
        "a loop that counts",
        "The first step is another than the others, and its number is in the output.",
        RunningMean,
        "x: float32[batch, sequence, 3]; cell_h[batch, 6] -> output: float32[batch, sequence, "
        "6] (sequence)",
    ),
    Case(
        "two kinds of cells in one step",
        "Both run as operators over the sequence.",
        ResidualCells,
        "ids: int64[batch, sequence]; gru_h[batch, 6], lstm_h[batch, 6], lstm_c[batch, 6] -> "
        "output: float32[batch, sequence, 15] (sequence + step)",
        symbols=15,
    ),
    Case(
        "a loop with zoneout",
        "The state is mixed with the one before outside of the cell.",
        ZoneoutLoop,
        "x: float32[batch, sequence, 3]; h[batch, 6], c[batch, 6] -> output: float32[batch, "
        "sequence, 6] (sequence + step)",
    ),
    Case(
        "a loop over a cell without bias",
        "A cell that is called without its biases.",
        NoBias,
        "x: float32[batch, sequence, 3]; h[batch, 6], c[batch, 6] -> output: float32[batch, "
        "sequence, 6] (sequence + step)",
    ),
)
