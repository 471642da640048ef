"""Recurrent policies and other ways to hold a state."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch
from torch import nn

from edgernn import export_model
from edgernn.errors import UnsupportedModelError
from tests.models.proof import proven


class ActorCritic(nn.Module):
    """(observation, (h, c)) → (action logits, value, (h, c)), one step a call."""

    def __init__(self, obs=6, actions=3, hidden=16):
        super().__init__()
        self.fc1 = nn.Linear(obs, hidden)
        self.lstm = nn.LSTMCell(hidden, hidden)
        self.critic_linear = nn.Linear(hidden, 1)
        self.actor_linear = nn.Linear(hidden, actions)

    def forward(self, inputs):
        inputs, (hx, cx) = inputs
        x = torch.tanh(self.fc1(inputs))
        hx, cx = self.lstm(x, (hx, cx))
        x = hx
        return self.critic_linear(x), self.actor_linear(x), (hx, cx)


def test_a_policy_that_takes_one_tuple_of_everything(tmp_path):
    """Observation and state in one argument."""
    model = ActorCritic()

    def call(inputs_0):
        state = torch.zeros(len(inputs_0), 16), torch.zeros(len(inputs_0), 16)
        values, logits = [], []
        for t in range(inputs_0.shape[1]):
            value, logit, state = model((inputs_0[:, t], state))
            values.append(value)
            logits.append(logit)
        return {"output_0": torch.stack(values, 1), "output_1": torch.stack(logits, 1)}

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"inputs_0": torch.randn(b, t, 6)},
        call=call,
        inputs=((torch.randn(1, 6), (torch.zeros(1, 16), torch.zeros(1, 16))),),
    )

    assert ports == (
        "inputs_0: float32[batch, sequence, 6]; h[batch, 16], c[batch, 16] -> output_0: "
        "float32[batch, sequence, 1], output_1: float32[batch, sequence, 3] (sequence + "
        "step)"
    )


class Policy(nn.Module):
    """The same with separate arguments, over sequences."""

    def __init__(self, obs=6, actions=3, hidden=16):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs, hidden), nn.ReLU())
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.pi = nn.Linear(hidden, actions)
        self.v = nn.Linear(hidden, 1)

    def forward(self, observation, state):
        h, c = state
        x, (h, c) = self.lstm(self.body(observation), (h, c))
        return self.pi(x), self.v(x).squeeze(-1), (h.detach(), c.detach())


def test_a_policy_over_sequences_with_a_state_pair(tmp_path):
    """Observations and the pair (h, c), both guessed from the signature."""
    model = Policy()

    def call(observation):
        zeros = torch.zeros(1, len(observation), 16)
        logits, value, _ = model(observation, (zeros, zeros))
        return {"output_0": logits, "output_1": value}

    ports = proven(model, tmp_path, lambda b, t: {"observation": torch.randn(b, t, 6)}, call=call)

    assert ports == (
        "observation: float32[batch, sequence, 6]; h[1, batch, 16], c[1, batch, 16] -> "
        "output_0: float32[batch, sequence, 3], output_1: float32[batch, sequence] "
        "(sequence + step)"
    )


class MaskedPolicy(nn.Module):
    """Episodes end inside a batch: the mask wipes the state (0 where an episode starts)."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRUCell(5, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, obs, hxs, masks):
        hxs = self.gru(obs, hxs * masks)
        return self.out(hxs), hxs


def test_a_policy_whose_mask_wipes_the_state(tmp_path):
    """The state goes through a product on its way into the cell and is still recognised."""
    model = MaskedPolicy()

    def call(obs, masks):
        h, outs = torch.zeros(len(obs), 8), []
        for t in range(obs.shape[1]):
            out, h = model(obs[:, t], h, masks[:, t])
            outs.append(out)
        return torch.stack(outs, 1)

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"obs": torch.randn(b, t, 5), "masks": (torch.rand(b, t, 1) > 0.3).float()},
        call=call,
        inputs=(torch.randn(2, 5), torch.zeros(2, 8), torch.ones(2, 1)),
    )

    assert ports == (
        "obs: float32[batch, sequence, 5], masks: float32[batch, sequence, 1]; hxs[batch, "
        "8] -> output: float32[batch, sequence, 2] (sequence + step)"
    )


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


class SingleStepLayer(nn.Module):
    """nn.GRU used for one step: the sequence axis is made inside forward."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 6)
        self.gru = nn.GRU(6, 6, batch_first=True)
        self.q = nn.Linear(6, 3)

    def forward(self, obs, hidden_state):
        x = torch.relu(self.fc(obs))
        y, h = self.gru(x.unsqueeze(1), hidden_state.unsqueeze(0))
        return self.q(y.squeeze(1)), h.squeeze(0)


def test_a_layer_used_for_one_step(tmp_path):
    """The state port is as forward takes it, (batch, hidden)."""
    model = SingleStepLayer()

    def call(obs):
        h, outs = torch.zeros(len(obs), 6), []
        for t in range(obs.shape[1]):
            out, h = model(obs[:, t], h)
            outs.append(out)
        return torch.stack(outs, 1)

    ports = proven(
        model,
        tmp_path,
        lambda b, t: {"obs": torch.randn(b, t, 4)},
        call=call,
        inputs=(torch.randn(2, 4), torch.zeros(2, 6)),
    )

    assert ports == (
        "obs: float32[batch, sequence, 4]; h[batch, 6] -> output: "
        "float32[batch, sequence, 3] (sequence + step)"
    )


class RandomStart(nn.Module):
    """A random initial state, as a few tutorials have it."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.fc = nn.Linear(5, 1)

    def forward(self, x):
        h0 = torch.randn(1, x.size(0), 5)
        c0 = torch.randn(1, x.size(0), 5)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out)


def test_a_random_initial_state_is_refused(tmp_path):
    """No graph can agree with a start that torch draws anew at every call."""
    with pytest.raises(UnsupportedModelError) as caught:
        export_model(RandomStart(), tmp_path / "m")

    assert str(caught.value) == (
        "`h_in` starts from random numbers that forward draws anew at every call, so no two runs "
        "agree. Start it from zeros or from a parameter, or take it as an argument."
    )
    assert not list(tmp_path.iterdir())


class TrainedStart(nn.Module):
    """A bidirectional layer with a trained initial state for each direction."""

    def __init__(self, kind=nn.GRU, hidden=6):
        super().__init__()
        self.kind = kind
        self.emb = nn.Embedding(12, 4)
        self.rnn = kind(4, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.h0 = nn.Parameter(torch.randn(4, 1, hidden) * 0.5)
        self.c0 = nn.Parameter(torch.randn(4, 1, hidden) * 0.5)
        self.fc = nn.Linear(2 * hidden, 3)

    def forward(self, ids):
        h0 = self.h0.expand(-1, ids.size(0), -1).contiguous()
        if self.kind is nn.LSTM:
            c0 = self.c0.repeat(1, ids.size(0), 1)
            y, _ = self.rnn(self.emb(ids), (h0, c0))
        else:
            y, _ = self.rnn(self.emb(ids), h0)
        return self.fc(y)


def test_a_trained_initial_state_of_a_bidirectional_gru(tmp_path):
    """The learned values are the initial value of the state ports."""
    ports = proven(TrainedStart(), tmp_path, lambda b, t: {"ids": torch.randint(0, 12, (b, t))})

    assert ports == (
        "ids: int64[batch, sequence]; h[4, batch, 6] -> output: float32[batch, sequence, "
        "3] (sequence)"
    )


def test_a_trained_initial_state_of_a_bidirectional_lstm(tmp_path):
    """The same with h and c, one expanded and one repeated."""
    ports = proven(
        TrainedStart(nn.LSTM), tmp_path, lambda b, t: {"ids": torch.randint(0, 12, (b, t))}
    )

    assert ports == (
        "ids: int64[batch, sequence]; h[4, batch, 6], c[4, batch, 6] -> output: "
        "float32[batch, sequence, 3] (sequence)"
    )


class TrainedTanhStart(nn.Module):
    """A trained start that goes through tanh, into cells of a loop."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.randn(8))
        self.cell = nn.LSTMCell(3, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        h = torch.tanh(self.start).unsqueeze(0).repeat(x.size(0), 1)
        c = torch.zeros_like(h)
        ys = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t, :], (h, c))
            ys.append(self.out(h))
        return torch.stack(ys, dim=1)


def test_a_trained_start_of_a_loop(tmp_path):
    """The initial value is what forward computes from its parameters."""
    ports = proven(TrainedTanhStart(), tmp_path, lambda b, t: {"x": torch.randn(b, t, 3)})

    assert ports == (
        "x: float32[batch, sequence, 3]; h[batch, 8], c[batch, 8] -> output: "
        "float32[batch, sequence, 2] (sequence + step)"
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
