"""Ways to hold a state: in dicts, lists, named tuples, dataclasses and on the module."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import nn

from tests.models.case import Case, by_steps


class DictState(nn.Module):
    """The state as a dict in and out."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.out = nn.Linear(6, 2)

    def forward(self, x, state):
        y, (h, c) = self.rnn(x, (state["h"], state["c"]))
        return {"action": self.out(y), "state": {"h": h, "c": c}}


class ListOfPairs(nn.Module):
    """A list of (h, c), one for each layer of cells."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(4, 7), nn.LSTMCell(7, 7)])
        self.out = nn.Linear(7, 3)

    def forward(self, x, states):
        new = []
        for cell, state in zip(self.cells, states):
            x, c = cell(x, state)
            new.append((x, c))
        return self.out(x), new


class Output(NamedTuple):
    logits: torch.Tensor
    hidden: torch.Tensor


class NamedFields(nn.Module):
    """A NamedTuple comes back; keyword-only arguments go in."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 6, 2)
        self.out = nn.Linear(6, 2)

    def forward(self, *, features: torch.Tensor, hidden: torch.Tensor | None = None) -> Output:
        if hidden is None:
            hidden = features.new_zeros(2, features.size(1), 6)
        y, hidden = self.rnn(features, hidden)
        return Output(logits=self.out(y), hidden=hidden)


@dataclasses.dataclass
class Detection:
    score: torch.Tensor
    embedding: torch.Tensor
    memory: torch.Tensor | None = None


class DataclassModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((4,), 0.3))
        self.register_buffer("scale", torch.full((4,), 2.0))
        self.rnn = nn.RNN(4, 6, batch_first=True)
        self.out = nn.Linear(6, 1)

    def forward(self, x, memory: torch.Tensor | None = None):
        y, memory = self.rnn((x - self.mean) / self.scale, memory)
        return Detection(torch.sigmoid(self.out(y)), y, memory)


class CallerZeros(nn.Module):
    """The state is kept on the module between calls, as stateful Keras layers do."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.fc = nn.Linear(5, 1)
        self.hidden = None

    def reset(self):
        self.hidden = None

    def forward(self, x):
        out, self.hidden = self.lstm(x, self.hidden)
        return self.fc(out)


def pairs(batch):
    return [(torch.zeros(batch, 7), torch.zeros(batch, 7)) for _ in range(2)]


def actions(model, x):
    zeros = torch.zeros(1, len(x), 6)
    return model(x, {"h": zeros, "c": zeros})["action"]


def found(model, x):
    result = model(x)
    return {"score": result.score, "embedding": result.embedding}


def from_the_start(model, x):
    model.reset()
    return model(x)


CASES = (
    Case(
        "a dict",
        "Paths into dicts pair as paths into tuples do.",
        DictState,
        "x: float32[batch, sequence, 4]; h[1, batch, 6], c[1, batch, 6] -> action: "
        "float32[batch, sequence, 2] (sequence + step)",
        example=lambda: {
            "x": torch.randn(2, 5, 4),
            "state": {"h": torch.zeros(1, 2, 6), "c": torch.zeros(1, 2, 6)},
        },
        call=actions,
    ),
    Case(
        "a list of pairs, one for each cell",
        "One step of stacked cells, the states nested in lists.",
        ListOfPairs,
        "x: float32[batch, sequence, 4]; cells_0_h[batch, 7], cells_0_c[batch, 7], "
        "cells_1_h[batch, 7], cells_1_c[batch, 7] -> output: float32[batch, sequence, 3] "
        "(sequence + step)",
        example=lambda: (torch.randn(2, 4), pairs(2)),
        call=by_steps(pairs),
    ),
    Case(
        "a named tuple and keyword-only arguments",
        "Outputs are called by their fields; a time-major state of two layers is optional.",
        NamedFields,
        "features: float32[sequence, batch, 4]; h[2, batch, 6] -> logits: float32[sequence, "
        "batch, 2] (sequence + step)",
        call=lambda model, features: {"logits": model(features=features).logits},
    ),
    Case(
        "a dataclass comes back",
        "Fields name the outputs; buffers normalise the input.",
        DataclassModel,
        "x: float32[batch, sequence, 4]; h[1, batch, 6] -> score: float32[batch, sequence, 1], "
        "embedding: float32[batch, sequence, 6] (sequence + step)",
        call=found,
    ),
    Case(
        "a state kept on the module",
        "Every run starts from what the module came with: a port as any other state.",
        CallerZeros,
        "x: float32[batch, sequence, 3]; h[1, batch, 5], c[1, batch, 5] -> output: "
        "float32[batch, sequence, 1] (sequence + step)",
        call=from_the_start,
    ),
)
