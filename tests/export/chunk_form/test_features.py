"""Operators along other axes than time are local; along time they need all steps at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.streams import check, refusal

SPEC = "x:float32[batch,sequence,4]"

Function = Callable[[torch.Tensor], torch.Tensor]


class Between(nn.Module):
    """A function of (batch, frames, 6) between a convolution without padding and a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv1d(4, 6, 3)
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 5)."""
        y = self.function(self.conv(x.transpose(1, 2)).transpose(1, 2))
        result: torch.Tensor = self.rnn(y)[0]
        return result


LOCAL: dict[str, Function] = {
    "softmax": lambda y: y.softmax(-1),
    "layer norm": lambda y: F.layer_norm(y, (6,)),
    "mean of features": lambda y: y - y.mean(-1, keepdim=True),
    "largest feature": lambda y: y * F.one_hot(y.argmax(-1), 6),
    "product of heads": lambda y: (
        (y.reshape(y.shape[0], y.shape[1], 2, 3) @ y.reshape(y.shape[0], y.shape[1], 3, 2))
        .flatten(2)
        .repeat(1, 1, 2)[:, :, :6]
    ),
    "einsum": lambda y: torch.einsum("btc,btd->btc", y, y),
    "batch norm": lambda y: F.batch_norm(
        y.transpose(1, 2), torch.zeros(6), torch.full((6,), 2.0)
    ).transpose(1, 2),
}


@pytest.mark.parametrize("name", LOCAL)
def test_operators_over_features_are_local(name: str) -> None:
    """They keep the delay of their input, and need no state."""
    check(Between(LOCAL[name]), SPEC, states=["conv_context", "position"], delay=2)


WHOLE: dict[str, Function] = {
    "mean over time": lambda y: y - y.mean(1, keepdim=True),
    "softmax over time": lambda y: y.softmax(1),
    "norm over time": lambda y: F.instance_norm(y.transpose(1, 2)).transpose(1, 2),
}


@pytest.mark.parametrize("name", WHOLE)
def test_operators_over_all_steps_are_refused(name: str) -> None:
    """They are named as the reason why there is no step."""
    assert "needs all steps at once" in refusal(Between(WHOLE[name]), SPEC)
