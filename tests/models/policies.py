"""Recurrent policies: observations in, actions and states out."""

from __future__ import annotations

import torch
from torch import nn

from tests.models.case import Case, by_steps


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


class MaskedPolicy(nn.Module):
    """Episodes end inside a batch: the mask wipes the state (0 where an episode starts)."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRUCell(5, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, obs, hxs, masks):
        hxs = self.gru(obs, hxs * masks)
        return self.out(hxs), hxs


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


def values_and_scores(model, inputs_0):
    state = torch.zeros(len(inputs_0), 16), torch.zeros(len(inputs_0), 16)
    values, logits = [], []
    for observation in inputs_0.unbind(1):
        value, logit, state = model((observation, state))
        values.append(value)
        logits.append(logit)
    return {"output_0": torch.stack(values, 1), "output_1": torch.stack(logits, 1)}


def scores_and_values(model, observation):
    zeros = torch.zeros(1, len(observation), 16)
    logits, value, _ = model(observation, (zeros, zeros))
    return {"output_0": logits, "output_1": value}


CASES = (
    Case(
        "one tuple of everything",
        "Observation and state in one argument.",
        ActorCritic,
        "inputs_0: float32[batch, sequence, 6]; h[batch, 16], c[batch, 16] -> output_0: "
        "float32[batch, sequence, 1], output_1: float32[batch, sequence, 3] (sequence + step)",
        example=lambda: ((torch.randn(1, 6), (torch.zeros(1, 16), torch.zeros(1, 16))),),
        call=values_and_scores,
    ),
    Case(
        "sequences with a state pair",
        "Observations and the pair (h, c), both guessed from the signature.",
        Policy,
        "observation: float32[batch, sequence, 6]; h[1, batch, 16], c[1, batch, 16] -> "
        "output_0: float32[batch, sequence, 3], output_1: float32[batch, sequence] (sequence + "
        "step)",
        call=scores_and_values,
    ),
    Case(
        "a mask wipes the state",
        "The state goes through a product on its way into the cell and is still recognised.",
        MaskedPolicy,
        "obs: float32[batch, sequence, 5], masks: float32[batch, sequence, 1]; hxs[batch, 8] "
        "-> output: float32[batch, sequence, 2] (sequence + step)",
        data=lambda batch, sequence: {
            "obs": torch.randn(batch, sequence, 5),
            "masks": (torch.rand(batch, sequence, 1) > 0.3).float(),
        },
        example=lambda: (torch.randn(2, 5), torch.zeros(2, 8), torch.ones(2, 1)),
        call=by_steps(
            lambda batch: torch.zeros(batch, 8), lambda model, x, mask, h: model(x, h, mask)
        ),
    ),
    Case(
        "a layer used for one step",
        "The state port is as forward takes it, (batch, hidden).",
        SingleStepLayer,
        "obs: float32[batch, sequence, 4]; h[batch, 6] -> output: float32[batch, sequence, 3] "
        "(sequence + step)",
        example=lambda: (torch.randn(2, 4), torch.zeros(2, 6)),
        call=by_steps(lambda batch: torch.zeros(batch, 6)),
    ),
)
