"""The modules behind the table of what is supported."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

__all__ = ["CELLS", "HAND", "HIDDEN", "INPUT", "KINDS", "LAYERS", "LOOPS", "STYLES", "net"]

INPUT, HIDDEN, PROJECTED = 3, 4, 2

LAYERS = ("nn.LSTM", "nn.LSTM, proj_size", "nn.GRU", "nn.RNN, tanh", "nn.RNN, relu")
CELLS = ("nn.LSTMCell", "nn.GRUCell", "nn.RNNCell, tanh", "nn.RNNCell, relu")
HAND, HAND_LOOP = "one step by hand", "loop over a step by hand"
LOOPS = (*(f"loop over {kind}" for kind in CELLS), HAND_LOOP)
KINDS = (*LAYERS, *CELLS, *LOOPS, HAND)

States = tuple[torch.Tensor, ...]


class Net(nn.Module):
    """A recurrence of some kind; what forward does about the state is up to the children."""

    def __init__(self, kind: str, layers: int = 1, batch_first: bool = False, **options: Any):
        super().__init__()
        self.kind, self.batch_first = kind, batch_first
        name, _, variant = kind.removeprefix("loop over nn.").removeprefix("nn.").partition(", ")
        self.two = name.startswith("LSTM")
        if variant == "proj_size":
            options["proj_size"] = PROJECTED
        elif variant:
            options["nonlinearity"] = variant
        if kind in LAYERS:
            made = [getattr(nn, name)(INPUT, HIDDEN, layers, batch_first=batch_first, **options)]
        else:
            make = MinimalGatedUnit if kind in (HAND, HAND_LOOP) else getattr(nn, name)
            made = [make(HIDDEN if layer else INPUT, HIDDEN, **options) for layer in range(layers)]
        self.parts = nn.ModuleList(made)
        rows = layers * (2 if options.get("bidirectional") else 1)
        widths = (PROJECTED if variant == "proj_size" else HIDDEN, HIDDEN)
        self.sizes = [(rows, width) for width in widths[: 1 + self.two]]

    def run(self, x: torch.Tensor, states: States | None) -> tuple[torch.Tensor, States]:
        """Return y and the final states, in the layer's shape or, of a cell, (batch, hidden)."""
        if self.kind in LAYERS:
            y, after = self.parts[0](x, None if states is None else self._hx(states))
            return y, after if self.two else (after,)
        if self.kind not in LOOPS:
            after = self.parts[0](x, None if states is None else self._hx(states))
            after = after if self.two else (after,)
            return after[0], after
        held: list[Any] = [
            None if states is None else self._hx(tuple(state[place] for state in states))
            for place in range(len(self.parts))
        ]
        rows = []
        for x_t in x.unbind(1 if self.batch_first else 0):
            for place, cell in enumerate(self.parts):
                held[place] = cell(x_t, held[place])
                x_t = held[place][0] if self.two else held[place]
            rows.append(x_t)
        finals = zip(*(one if self.two else (one,) for one in held), strict=True)
        y = torch.stack(rows, 1 if self.batch_first else 0)
        return y, tuple(torch.stack(one) for one in finals)

    def _hx(self, states: States) -> Any:
        return states if self.two else states[0]

    def shapes(self, x: torch.Tensor) -> list[tuple[int, ...]]:
        """Return the shapes of the states for x."""
        features = 1 if self.kind in (*CELLS, HAND) else 2
        batch = [] if x.dim() == features else [x.shape[0 if self.batch_first else features - 1]]
        rows = [self.sizes[0][0]] if features == 2 else []
        return [(*rows, *batch, width) for _, width in self.sizes]


class MinimalGatedUnit(nn.Module):
    """One step of a recurrence that torch has no layer for."""

    def __init__(self, width: int, hidden: int, bias: bool = True):
        super().__init__()
        self.gate = nn.Linear(width + hidden, hidden, bias)
        self.new = nn.Linear(width + hidden, hidden, bias)

    def forward(self, x, h):
        h = x.new_zeros(*x.shape[:-1], HIDDEN) if h is None else h
        gate = self.gate(torch.cat((x, h), -1)).sigmoid()
        return (1 - gate) * h + gate * self.new(torch.cat((x, gate * h), -1)).tanh()


class LeftOut(Net):
    """forward runs without a state."""

    def forward(self, x):
        return self.run(x, None)[0]


class Zeros(Net):
    """forward makes zeros."""

    def forward(self, x):
        return self.run(x, tuple(x.new_zeros(shape) for shape in self.shapes(x)))[0]


class Learned(Net):
    """forward starts from parameters."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        rows = 0 if self.kind in (*CELLS, HAND) else self.sizes[0][0]
        lead = (rows, 1) if rows else (1,)
        self.start = nn.ParameterList(torch.rand(*lead, width) for _, width in self.sizes)

    def forward(self, x):
        pairs = zip(self.start, self.shapes(x), strict=True)
        return self.run(x, tuple(start.expand(shape) for start, shape in pairs))[0]


class FromData(Net):
    """forward computes the first state from its input."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.bridge = nn.ModuleList(nn.Linear(INPUT, width) for _, width in self.sizes)

    def forward(self, x):
        first = x if self.kind in (*CELLS, HAND) else x[0]
        pairs = zip(self.bridge, self.shapes(x), strict=True)
        return self.run(x, tuple(layer(first).expand(shape) for layer, shape in pairs))[0]


class GivenOne(Net):
    """forward takes h and returns the next one."""

    def forward(self, x, h):
        y, (h,) = self.run(x, (h,))
        return y, h


class GivenTwo(Net):
    """forward takes h and c and returns the next ones."""

    def forward(self, x, h, c):
        y, (h, c) = self.run(x, (h, c))
        return y, h, c


class Packed(Net):
    """forward packs sequences of different lengths, the longest first."""

    ordered = True

    def forward(self, x, lengths):
        rows = pack_padded_sequence(x, lengths, enforce_sorted=self.ordered)
        return pad_packed_sequence(self.parts[0](rows)[0], total_length=x.shape[0])[0]


class PackedUnsorted(Packed):
    """The same in any order."""

    ordered = False


STYLES: dict[str, type[Net]] = {
    "left out": LeftOut,
    "zeros": Zeros,
    "learned": Learned,
    "argument": GivenOne,
    "from data": FromData,
}
"""State style → the module that treats its state so."""


def net(kind: str, style: type[Net], **options: Any) -> Net:
    """Return a module of a kind, with the same random weights every time."""
    torch.manual_seed(0)
    two = style is GivenOne and "LSTM" in kind
    return (GivenTwo if two else style)(kind, **options).eval()
