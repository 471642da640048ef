"""A policy with stacked frames and a forecaster that normalises as it goes, as one trains them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class StackedFramesPolicy(nn.Module):
    """Sees the last four observations at once, as an Atari agent does, and remembers by a GRU.

    After Mnih et al., "Human-Level Control through Deep Reinforcement Learning", 2015, and
    Hausknecht and Stone, "Deep Recurrent Q-Learning for Partially Observable MDPs", 2015: scores of
    actions and the value, for trajectories (batch, sequence, 6).
    """

    def __init__(self, observation=6, hidden=16, actions=3, frames=4):
        super().__init__()
        self.frames = frames
        self.encoder = nn.Sequential(nn.Linear(frames * observation, 20), nn.ReLU())
        self.gru = nn.GRU(20, hidden, batch_first=True)
        self.actor, self.critic = nn.Linear(hidden, actions), nn.Linear(hidden, 1)

    def forward(self, observations, hidden=None):
        steps = observations.shape[1]
        padded = F.pad(observations, (0, 0, self.frames - 1, 0))
        stacked = torch.cat([padded[:, i : i + steps] for i in range(self.frames)], 2)
        y, hidden = self.gru(self.encoder(stacked), hidden)
        return self.actor(y), self.critic(y).squeeze(2), hidden


class NormalisingForecaster(nn.Module):
    """Removes the mean and the deviation of all readings so far, adds positions, forecasts.

    After Kim et al., "Reversible Instance Normalization for Accurate Time-Series Forecasting
    against Distribution Shift", 2022, with running statistics in place of those of a window.
    """

    def __init__(self, sensors=3, hidden=14, most=512):
        super().__init__()
        self.positions = nn.Embedding(most, sensors)
        self.lstm = nn.LSTM(2 * sensors, hidden, batch_first=True)
        self.head = nn.Linear(hidden, sensors)

    def forward(self, readings):
        steps = torch.arange(readings.shape[1], device=readings.device)
        count = (steps + 1)[None, :, None]
        mean = readings.cumsum(1) / count
        variance = (readings - mean).square().cumsum(1) / count
        deviation = torch.sqrt(variance + 1e-2)
        change = readings - F.pad(readings, (0, 0, 1, 0))[:, :-1]
        x = torch.cat(((readings - mean) / deviation + self.positions(steps), change), 2)
        y, _ = self.lstm(x)
        return self.head(y) * deviation + mean
