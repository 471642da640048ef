"""Models with layers over another axis than time: over the bins of a frame, or of every bin."""

from __future__ import annotations

import torch
from torch import nn

from tests.models.case import Case

BINS, WIDTH = 5, 4
SHAPE = f"[batch, sequence, {BINS}, {WIDTH}]"


class DualPath(nn.Module):
    """A block of DPRNN or GTCRN: along the bins in both directions, then along time."""

    def __init__(self, kind=nn.GRU, bidirectional=True):
        super().__init__()
        hidden = WIDTH * (1 + bidirectional)
        self.intra = kind(WIDTH, WIDTH, batch_first=True, bidirectional=bidirectional)
        self.intra_out, self.intra_norm = nn.Linear(hidden, WIDTH), nn.LayerNorm((BINS, WIDTH))
        self.inter = kind(WIDTH, WIDTH, batch_first=True)
        self.inter_out, self.inter_norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm((BINS, WIDTH))

    def forward(self, x):
        batch, steps, bins, width = x.shape
        rows = self.intra(x.reshape(batch * steps, bins, width))[0]
        x = x + self.intra_norm(self.intra_out(rows).reshape(batch, steps, bins, width))
        rows = x.permute(0, 2, 1, 3).reshape(batch * bins, steps, width)
        rows = self.inter_out(self.inter(rows)[0]).reshape(batch, bins, steps, width)
        return x + self.inter_norm(rows.permute(0, 2, 1, 3))


class TimeFirst(nn.Module):
    """Layers that take steps first, with the batch inside of the bins; flatten and unflatten."""

    def __init__(self):
        super().__init__()
        self.intra = nn.LSTM(WIDTH, 3, 2, bidirectional=True)
        self.inter = nn.LSTM(6, WIDTH, 2)

    def forward(self, x):
        batch, steps, bins, _ = x.shape
        rows = self.intra(x.permute(2, 0, 1, 3).flatten(1, 2))[0].unflatten(1, (batch, steps))
        rows = rows.permute(2, 0, 1, 3).contiguous().view(steps, bins * batch, 6)
        y, (h, c) = self.inter(rows)
        return y.view(steps, bins, batch, WIDTH).permute(2, 0, 1, 3)


class Grouped(nn.Module):
    """Two small layers on halves of the channels, whose outputs are shuffled, as in GTCRN."""

    def __init__(self):
        super().__init__()
        self.intra = nn.ModuleList(
            nn.GRU(2, 2, batch_first=True, bidirectional=True) for _ in range(2)
        )
        self.inter = nn.ModuleList(nn.GRU(4, 2, batch_first=True) for _ in range(2))

    def forward(self, x):
        batch, steps, bins, width = x.shape
        halves = x.reshape(-1, bins, width).chunk(2, -1)
        y = torch.cat([gru(half)[0] for gru, half in zip(self.intra, halves, strict=True)], -1)
        rows = y.view(batch, steps, bins, -1).transpose(1, 2).reshape(batch * bins, steps, -1)
        parts = []
        for gru, half in zip(self.inter, rows.chunk(2, -1), strict=True):
            parts.append(gru(half, torch.zeros(1, batch * bins, 2))[0])
        y = torch.stack(parts, -1).flatten(2)  # 2, then 2 groups: shuffled
        return y.view(batch, bins, steps, width).transpose(1, 2)


class FullThenSub(nn.Module):
    """One layer over all bins of a frame, then the same layer for every bin, as in FullSubNet."""

    def __init__(self):
        super().__init__()
        self.full, self.mix = nn.LSTM(BINS * WIDTH, 6, batch_first=True), nn.Linear(6, BINS)
        self.sub, self.out = nn.LSTM(WIDTH + 1, 6, 2, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        batch, steps, bins, _ = x.shape
        full = self.mix(self.full(x.flatten(2))[0])[..., None]
        rows = torch.cat((x, full), -1).transpose(1, 2).flatten(0, 1)
        mask = self.out(self.sub(rows)[0])
        return mask.view(batch, bins, steps, 2).transpose(1, 2)


class AlongBinsThenTime(nn.Module):
    """A frame becomes what a layer along its bins ends with."""

    def __init__(self, proj_size=0):
        super().__init__()
        self.bins = nn.LSTM(WIDTH, 6, batch_first=True, bidirectional=True, proj_size=proj_size)
        self.time = nn.GRU(2 * (proj_size or 6), 5, batch_first=True)

    def forward(self, x):
        _, (h, _) = self.bins(x.flatten(0, 1))
        return self.time(h.transpose(0, 1).reshape(x.shape[0], x.shape[1], -1))[0]


class LearnedStart(nn.Module):
    """Starts every bin from a row of its own."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.randn(2, BINS, 6))
        self.gru = nn.GRU(WIDTH, 6, 2, batch_first=True)

    def forward(self, x):
        batch, steps, bins, _ = x.shape
        start = self.start.repeat(1, batch, 1)
        y = self.gru(x.transpose(1, 2).reshape(batch * bins, steps, WIDTH), start)[0]
        return y.view(batch, bins, steps, 6).transpose(1, 2)


class CellsAlongBins(nn.Module):
    """Loops over the bins of all frames with a cell, then runs a layer over time."""

    def __init__(self):
        super().__init__()
        self.cell, self.time = nn.GRUCell(WIDTH, 3), nn.GRU(3, 5, batch_first=True)

    def forward(self, x):
        batch, steps, _, _ = x.shape
        h = torch.zeros(batch * steps, 3)
        for bin in x.reshape(batch * steps, BINS, WIDTH).unbind(1):
            h = self.cell(bin, h)
        return self.time(h.view(batch, steps, 3))[0]


class TakesState(nn.Module):
    """Takes and returns a state with a row for every bin of every sequence."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(WIDTH, 6, 2, batch_first=True)

    def forward(self, x, h):
        batch, steps, bins, _ = x.shape
        y, h = self.gru(x.transpose(1, 2).reshape(batch * bins, steps, WIDTH), h)
        return y.view(batch, bins, steps, 6).transpose(1, 2), h


class Agents(nn.Module):
    """One step of a policy that several agents share."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(WIDTH, 6)

    def forward(self, x, h):
        batch, agents, width = x.shape
        h = self.cell(x.reshape(batch * agents, width), h)
        return h.view(batch, agents, 6), h


def _with_zeros(model, x):
    return model(x, torch.zeros(2, len(x) * BINS, 6))[0]


def _agents_by_steps(model, x):
    h, outputs = torch.zeros(len(x) * BINS, 6), []
    for step in x.unbind(1):
        y, h = model(step, h)
        outputs.append(y)
    return torch.stack(outputs, 1)


def _outputs(width):
    return f"output: float32[batch, sequence, {BINS}, {width}] (sequence + step)"


CASES = [
    Case(
        "dual path",
        "the layer along the bins has no state; the one along time has rows of its own per bin",
        DualPath,
        f"x: float32{SHAPE}; inter_h[1, batch, 5, 4] -> {_outputs(4)}",
        example=(2, 7),
    ),
    Case(
        "dual path of LSTM, one direction",
        "so it is for h and c",
        lambda: DualPath(nn.LSTM, bidirectional=False),
        f"x: float32{SHAPE}; inter_h[1, batch, 5, 4], inter_c[1, batch, 5, 4] -> {_outputs(4)}",
        example=(2, 7),
    ),
    Case(
        "dual path of RNN",
        "so it is for an RNN",
        lambda: DualPath(nn.RNN),
        f"x: float32{SHAPE}; inter_h[1, batch, 5, 4] -> {_outputs(4)}",
        example=(1, 6),
    ),
    Case(
        "time first",
        "the batch stands where torch's rows have it: inside of the bins",
        TimeFirst,
        f"x: float32{SHAPE}; inter_h[2, 5, batch, 4], inter_c[2, 5, batch, 4] -> {_outputs(4)}",
        example=(2, 7),
    ),
    Case(
        "grouped layers",
        "every group has its state",
        Grouped,
        f"x: float32{SHAPE}; inter_0_h[1, batch, 5, 2], inter_1_h[1, batch, 5, 2] -> {_outputs(4)}",
        example=(2, 7),
    ),
    Case(
        "full band and sub bands",
        "states with and without bins stand side by side",
        FullThenSub,
        f"x: float32{SHAPE}; full_h[1, batch, 6], full_c[1, batch, 6], sub_h[2, batch, 5, 6], "
        f"sub_c[2, batch, 5, 6] -> {_outputs(2)}",
        example=(2, 7),
    ),
    Case(
        "along the bins, then along time",
        "the final state along the bins is an input of the layer along time",
        AlongBinsThenTime,
        "x: float32[batch, sequence, x_dim2, 4]; time_h[1, batch, 5] -> "
        "output: float32[batch, sequence, 5] (sequence + step)",
        example=(2, 7),
    ),
    Case(
        "projected along the bins",
        "a layer that ONNX has no operator for is a Scan along the bins, within the step too",
        lambda: AlongBinsThenTime(proj_size=2),
        "x: float32[batch, sequence, x_dim2, 4]; time_h[1, batch, 5] -> "
        "output: float32[batch, sequence, 5] (sequence + step)",
        example=(2, 7),
    ),
    Case(
        "a start for every bin",
        "the initial value has a row for every bin, the same for all sequences",
        LearnedStart,
        f"x: float32{SHAPE}; h[2, batch, 5, 6] -> {_outputs(6)}",
        example=(2, 7),
    ),
    Case(
        "cells along the bins",
        "a loop over the bins is written out in every step",
        CellsAlongBins,
        f"x: float32{SHAPE}; time_h[1, batch, 5] -> "
        "output: float32[batch, sequence, 5] (sequence + step)",
        example=(2, 7),
    ),
    Case(
        "rows of an argument",
        "an argument with a row for every bin is a port with the batch as an axis of its own",
        TakesState,
        f"x: float32{SHAPE}; h[2, batch, 5, 6] -> output: float32[batch, sequence, 5, 6] "
        "(sequence + step)",
        example=lambda: ["x:float32[batch,sequence,5,4]", "h:float32[2,5*batch,6]"],
        call=_with_zeros,
    ),
    Case(
        "agents",
        "so it is for a model of one step",
        Agents,
        f"x: float32{SHAPE}; h[batch, 5, 6] -> output: float32[batch, sequence, 5, 6] "
        "(sequence + step)",
        example=lambda: ["x:float32[batch,5,4]", "h:float32[5*batch,6]"],
        call=_agents_by_steps,
    ),
    Case(
        "one sequence alone",
        "where the batch is constant, rows are not sequences either",
        DualPath,
        "x: float32[1, sequence, 5, 4]; inter_h[1, 1, 5, 4] -> "
        "output: float32[1, sequence, 5, 4] (sequence + step)",
        example=lambda: ["x:float32[1,sequence,5,4]"],
        sizes=((1, 1), (1, 11)),
    ),
]
