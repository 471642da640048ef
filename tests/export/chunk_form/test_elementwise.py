"""Inputs that meet come at the same delay, and padding is computed with as all else is."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.streams import check

SPEC = "x:float32[batch,sequence,4]"


class Branches(nn.Module):
    """A residual around a convolution that is padded at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)
        self.conv = nn.Conv1d(4, 4, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        y: torch.Tensor = self.rnn(x)[0].transpose(1, 2)
        z: torch.Tensor = self.conv(y).tanh()
        return (y + z).transpose(1, 2)


def test_branches_with_other_delays_are_aligned() -> None:
    """The branch that comes earlier waits, by the context that the convolution has anyway."""
    check(Branches(), SPEC, delay=2, tail=2)


class PaddedFirst(nn.Module):
    """Padding, then a bias for each channel and an activation, then the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.0]))
        self.conv = nn.Conv1d(4, 6, 3)
        self.rnn = nn.GRU(6, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 5)."""
        y = F.pad(x.transpose(1, 2), (2, 0), value=0.25)
        y = (y + self.bias[:, None]).exp()
        result: torch.Tensor = self.rnn(self.conv(y).transpose(1, 2))[0]
        return result


def test_padding_is_computed_with() -> None:
    """Elementwise operators between padding and convolution do not cost a delay."""
    check(PaddedFirst(), SPEC, states=["conv_context"], delay=0)


class Mismatched(nn.Module):
    """A step of the input meets the step after it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence - 1, 4)."""
        result: torch.Tensor = self.rnn(torch.where(x[:, 1:] > 0, x[:, :-1], x[:, 1:]))[0]
        return result


def test_three_inputs_are_aligned() -> None:
    """Each input of a `where` comes with the frames that belong together."""
    check(Mismatched(), SPEC, delay=1)
