"""Convolutions along time keep the frames that their next windows read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.streams import check

SPEC = "x:float32[batch,sequence,4]"


class Convolved(nn.Module):
    """A convolution over time before a GRU."""

    def __init__(self, left: int, right: int, **options: Any) -> None:
        super().__init__()
        self.padding = (left, right)
        self.conv = nn.Conv1d(4, 6, **options)
        self.rnn = nn.GRU(6, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        y = self.conv(F.pad(x.transpose(1, 2), self.padding)).relu()
        result: torch.Tensor = self.rnn(y.transpose(1, 2))[0]
        return result


@pytest.mark.parametrize(
    ("kernel", "dilation", "stride"), [(2, 1, 2), (3, 1, 1), (3, 3, 1), (2, 3, 2)]
)
def test_causal_convolutions_have_no_delay(kernel: int, dilation: int, stride: int) -> None:
    """A convolution padded on the left alone keeps its last inputs, and gives all frames."""
    left = (kernel - 1) * dilation
    module = Convolved(left, 0, kernel_size=kernel, dilation=dilation, stride=stride)
    check(module, SPEC, states=["conv_context"], hop=stride, delay=0)


@pytest.mark.parametrize(
    ("left", "right", "options", "delay", "tail"),
    [
        (0, 0, {"kernel_size": 3}, 2, 0),
        (1, 1, {"kernel_size": 3}, 1, 1),
        (0, 2, {"kernel_size": 3}, 2, 2),
        (4, 0, {"kernel_size": 3}, 0, 2),
        (3, 3, {"kernel_size": 4, "dilation": 2, "stride": 2}, 1, 1),
        (0, 0, {"kernel_size": 7, "stride": 3}, 2, 0),
    ],
)
def test_what_is_not_padded_on_the_left_is_a_delay(
    left: int, right: int, options: dict[str, int], delay: int, tail: int
) -> None:
    """A window that ends after its step comes later; the tail is of padding at the end."""
    module = Convolved(left, right, **options)
    check(module, SPEC, hop=options.get("stride", 1), delay=delay, tail=tail)
