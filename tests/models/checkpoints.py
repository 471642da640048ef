"""Models in other dtypes and modes, and with weights that are computed."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.models.case import Case


class Regressor(nn.Module):
    """A batch norm in front, dropout between layers, half of everything in train mode."""

    def __init__(self, kind=nn.GRU):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.rnn = kind(4, 8, 2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y, _ = self.rnn(x)
        return self.head(y)


def features(b, t):
    return {"x": torch.randn(b, t, 4)}


class Reparametrised(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6, 2)
        if how == "weight norm":
            parametrizations.weight_norm(self.rnn, "weight_hh_l0")
            parametrizations.weight_norm(self.head)
        elif how == "spectral norm":
            parametrizations.spectral_norm(self.rnn, "weight_hh_l0")
        elif how == "old weight norm":
            with pytest.warns(FutureWarning):
                nn.utils.weight_norm(self.rnn, "weight_hh_l0")

    def forward(self, x):
        y, h = self.rnn(x)
        return self.head(y)


CASES = tuple(
    Case(
        name,
        "What parametrizations compute is what the graph holds.",
        partial(Reparametrised, name),
        "x: float32[batch, sequence, 4]; h[1, batch, 6] -> output: float32[batch, sequence, 2] "
        "(sequence + step)",
    )
    for name in ("weight norm", "spectral norm", "old weight norm")
)
