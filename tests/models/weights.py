"""Weights that forward computes at every call from others: norms, drop, masks."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import nn
from torch.nn.functional import dropout
from torch.nn.utils import spectral_norm, weight_norm

from tests.models.case import Case


class Loop(nn.Module):
    """A cell in a loop over time."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 6)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 6)
        rows = []
        for t in range(x.shape[1]):
            h, c = self.cell(x[:, t], (h, c))
            rows.append(h)
        return torch.stack(rows, 1)


class Layer(nn.Module):
    """A layer whose recurrent weight another module makes anew at every call."""

    def __init__(self, make):
        super().__init__()
        self.rnn = make(nn.LSTM(4, 6, batch_first=True))

    def forward(self, x):
        return self.rnn(x)[0]


class WeightDrop(nn.Module):
    """Dropout on the recurrent weight, registered anew at every call where it is a parameter."""

    def __init__(self, layer, registered):
        super().__init__()
        self.layer, self.registered = layer, registered
        raw = layer.weight_hh_l0
        del layer._parameters["weight_hh_l0"]
        self.raw = nn.Parameter(raw.data)
        layer.flatten_parameters = lambda: None

    def forward(self, x):
        weight = dropout(self.raw, 0.5, self.training)
        self.layer.weight_hh_l0 = nn.Parameter(weight) if self.registered else weight.clone()
        return self.layer(x)


class DropInLoop(Loop):
    """Dropout on a cell's weight in every step."""

    def __init__(self):
        super().__init__()
        raw = self.cell.weight_hh
        del self.cell._parameters["weight_hh"]
        self.cell.raw = nn.Parameter(raw.data)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 6)
        rows = []
        for t in range(x.shape[1]):
            self.cell.weight_hh = dropout(self.cell.raw, 0.3, self.training)
            h, c = self.cell(x[:, t], (h, c))
            rows.append(h)
        return torch.stack(rows, 1)


def normed(norm, *names):
    def wrap(layer):
        for name in names:
            layer = norm(layer, name)
        return layer

    return wrap


def in_loop(wrap):
    model = Loop()
    model.cell = wrap(model.cell)
    return model


MODELS = {
    "weight norm, cell": lambda: in_loop(normed(weight_norm, "weight_hh", "weight_ih")),
    "spectral norm, cell": lambda: in_loop(normed(spectral_norm, "weight_hh")),
    "weight drop, layer": lambda: Layer(lambda layer: WeightDrop(layer, registered=False)),
    "weight drop as parameter": lambda: Layer(lambda layer: WeightDrop(layer, registered=True)),
    "weight drop, cell": DropInLoop,
}


def called(make):
    """Return a model in eval mode that was called with gradients, then without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of weight_norm's age
        model = make()
    model(torch.randn(2, 3, 4)).sum().backward()
    with torch.no_grad():
        model(torch.randn(2, 3, 4))
    return model.eval()


CASES = tuple(
    Case(
        name,
        "They are the values that eval mode computes, after calls with and without gradients.",
        partial(called, MODELS[name]),
        f"x: float32[batch, sequence, 4]; {states} -> output: float32[batch, sequence, 6] "
        "(sequence + step)",
    )
    for name, states in {
        "weight norm, cell": "h[batch, 6], c[batch, 6]",
        "spectral norm, cell": "h[batch, 6], c[batch, 6]",
        "weight drop, layer": "h[1, batch, 6], c[1, batch, 6]",
        "weight drop as parameter": "h[1, batch, 6], c[1, batch, 6]",
        "weight drop, cell": "h[batch, 6], c[batch, 6]",
    }.items()
)
