"""Ways to hold a state: in dicts, lists, named tuples, dataclasses and on the module."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import nn

from tests.models.proof import proven


class DictState(nn.Module):
    """The state as a dict in and out."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.out = nn.Linear(6, 2)

    def forward(self, x, state):
        y, (h, c) = self.rnn(x, (state["h"], state["c"]))
        return {"action": self.out(y), "state": {"h": h, "c": c}}


def test_a_state_in_a_dict(tmp_path):
    """Paths into dicts pair as paths into tuples do."""
    model = DictState()

    def call(x):
        zeros = torch.zeros(1, len(x), 6)
        return model(x, {"h": zeros, "c": zeros})["action"]

    zeros = torch.zeros(1, 2, 6)
    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 4)},
        call=call,
        inputs={"x": torch.randn(2, 5, 4), "state": {"h": zeros, "c": zeros}},
    )

    assert ports == (
        "x: float32[batch, sequence, 4]; h[1, batch, 6], c[1, batch, 6] -> action: "
        "float32[batch, sequence, 2] (sequence + step)"
    )


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


def test_a_list_of_pairs_one_for_each_cell(tmp_path):
    """One step of stacked cells, the states nested in lists."""
    model = ListOfPairs()

    def states(b):
        return [(torch.zeros(b, 7), torch.zeros(b, 7)) for _ in range(2)]

    def call(x):
        state, outs = states(len(x)), []
        for t in range(x.shape[1]):
            out, state = model(x[:, t], state)
            outs.append(out)
        return torch.stack(outs, 1)

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 4)},
        call=call,
        inputs=(torch.randn(2, 4), states(2)),
    )

    assert ports == (
        "x: float32[batch, sequence, 4]; cells_0_h[batch, 7], cells_0_c[batch, 7], "
        "cells_1_h[batch, 7], cells_1_c[batch, 7] -> output: float32[batch, sequence, 3] "
        "(sequence + step)"
    )


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


def test_a_named_tuple_and_keyword_only_arguments(tmp_path):
    """Outputs are called by their fields; a time-major state of two layers is optional."""
    model = NamedFields()

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"features": torch.randn(t, b, 4)},
        call=lambda features: {"logits": model(features=features).logits},
    )

    assert ports == (
        "features: float32[sequence, batch, 4]; h[2, batch, 6] -> logits: "
        "float32[sequence, batch, 2] (sequence + step)"
    )


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


def test_a_dataclass_comes_back(tmp_path):
    """Fields name the outputs; buffers normalise the input."""
    model = DataclassModel()

    def call(x):
        found = model(x)
        return {"score": found.score, "embedding": found.embedding}

    ports = proven(model, tmp_path, lambda b, t: {"x": torch.randn(b, t, 4)}, call=call)

    assert ports == (
        "x: float32[batch, sequence, 4]; h[1, batch, 6] -> score: float32[batch, "
        "sequence, 1], embedding: float32[batch, sequence, 6] (sequence + step)"
    )


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


def test_a_state_kept_on_the_module(tmp_path):
    """Every run starts from what the module came with: a port as any other state."""
    model = CallerZeros()

    def call(x):
        model.reset()
        return model(x)

    ports = proven(model, tmp_path, lambda b, t: {"x": torch.randn(b, t, 3)}, call=call)

    assert ports == (
        "x: float32[batch, sequence, 3]; h[1, batch, 5], c[1, batch, 5] -> output: "
        "float32[batch, sequence, 1] (sequence + step)"
    )
