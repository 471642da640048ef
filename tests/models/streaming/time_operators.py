"""Operators that mix time steps, in front of, behind, between and beside recurrent layers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

OPERATORS = (
    "conv1d",
    "depthwise",
    "conv2d",
    "average",
    "maximum",
    "frames",
    "shifts",
    "transposed",
)
PADDINGS = ("left", "none", "both", "right")
PLACES = ("before", "behind", "between", "beside")
RECURRENT = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
SIZE = 4


@dataclass(frozen=True)
class Window:
    """What an operator sees of the time axis.

    Attributes:
        operator: A name of `OPERATORS`.
        padding: A name of `PADDINGS`.
        kernel: How many steps it sees.
        dilation: The distance of these steps.
        stride: The distance of its outputs; of its inputs, in a transposed convolution.
    """

    operator: str
    padding: str
    kernel: int
    dilation: int
    stride: int

    @property
    def span(self) -> int:
        """Steps from the first that it sees to the last."""
        return (self.kernel - 1) * self.dilation

    @property
    def overhang(self) -> int:
        """Steps that a transposed convolution gives in addition to those of its stride."""
        return self.span + 1 - self.stride

    def sides(self) -> tuple[int, int]:
        """Return the number of steps that are padded, on the left and on the right."""
        half = self.span // 2
        return {
            "left": (self.span, 0),
            "none": (0, 0),
            "both": (half, half),
            "right": (0, self.span),
        }[self.padding]

    def exists(self) -> bool:
        """Say whether PyTorch has such an operator, and whether it sees each of its inputs."""
        if self.operator in ("average", "frames") and self.dilation > 1:
            return False
        if self.operator == "shifts" and self.stride > 1:
            return False
        if self.operator == "transposed" and self.overhang < 0:
            return False
        mixed = self.overhang if self.operator == "transposed" else self.span
        return mixed % 2 == 0 if self.padding == "both" else True


class TimeOperator(nn.Module):
    """The operator of a window, over (batch, steps, SIZE)."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window
        self.conv: nn.Module
        self.out: nn.Module
        kernel, stride, dilation = window.kernel, window.stride, window.dilation
        shared: Any = {"stride": stride, "dilation": dilation}
        if window.operator == "conv1d":
            self.conv = nn.Conv1d(SIZE, SIZE, kernel, **shared)
        elif window.operator == "depthwise":
            self.conv = nn.Conv1d(SIZE, 2 * SIZE, kernel, groups=SIZE, bias=False, **shared)
            self.out = nn.Conv1d(2 * SIZE, SIZE, 1)
        elif window.operator == "conv2d":
            self.conv = nn.Conv2d(
                1, 2, (kernel, 3), stride=(stride, 1), dilation=(dilation, 1), padding=(0, 1)
            )
            self.out = nn.Linear(2 * SIZE, SIZE)
        elif window.operator in ("frames", "shifts"):
            self.out = nn.Linear(kernel * SIZE, SIZE)
        elif window.operator == "transposed":
            self.conv = nn.ConvTranspose1d(SIZE, SIZE, kernel, **shared)

    def forward(self, x):
        window = self.window
        if window.operator == "transposed":
            return self.transposed(x)
        x = F.pad(x, (0, 0, *window.sides()), value=0.0)
        return getattr(self, window.operator)(x)

    def conv1d(self, x):
        return self.conv(x.transpose(1, 2)).transpose(1, 2)

    def depthwise(self, x):
        return self.out(self.conv(x.transpose(1, 2)).relu()).transpose(1, 2)

    def conv2d(self, x):
        y = self.conv(x[:, None])
        return self.out(y.transpose(1, 2).flatten(2))

    def average(self, x):
        y = F.avg_pool1d(x.transpose(1, 2), self.window.kernel, self.window.stride)
        return y.transpose(1, 2)

    def maximum(self, x):
        window = self.window
        y = F.max_pool1d(x.transpose(1, 2), window.kernel, window.stride, dilation=window.dilation)
        return y.transpose(1, 2)

    def frames(self, x):
        return self.out(x.unfold(1, self.window.kernel, self.window.stride).flatten(2))

    def shifts(self, x):
        steps = x.shape[1] - self.window.span
        parts = [
            x[:, place * self.window.dilation :][:, :steps] for place in range(self.window.kernel)
        ]
        return self.out(torch.cat(parts, 2))

    def transposed(self, x):
        window = self.window
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        if window.padding == "none":
            return y
        cut = {"left": 0, "both": window.overhang // 2, "right": window.overhang}[window.padding]
        return y[:, cut : cut + x.shape[1] * window.stride]


@dataclass(frozen=True)
class Placement:
    """An operator and the recurrent layer around which it is.

    Attributes:
        operator: A name of `OPERATORS`.
        padding: A name of `PADDINGS`.
        kernel: How many steps it sees.
        dilation: The distance of these steps.
        stride: The distance of its outputs.
        place: A name of `PLACES`.
        recurrent: A name of `RECURRENT`.
    """

    operator: str
    padding: str
    kernel: int
    dilation: int
    stride: int
    place: str
    recurrent: str

    def __str__(self) -> str:
        numbers = f"kernel{self.kernel}-dilation{self.dilation}-stride{self.stride}"
        return f"{self.operator}-{self.padding}-{numbers}-{self.place}-{self.recurrent}"

    @property
    def window(self) -> Window:
        """The operator."""
        return Window(self.operator, self.padding, self.kernel, self.dilation, self.stride)

    def exists(self) -> bool:
        """Say whether there is such a model."""
        if self.place == "beside" and (self.stride > 1 or self.operator == "transposed"):
            return False  # the two branches have other numbers of steps
        return self.window.exists()


class PlacedOperator(nn.Module):
    """A recurrent layer with an operator in front of, behind, between or beside it."""

    def __init__(self, placement: Placement) -> None:
        super().__init__()
        self.placement = placement
        layer = RECURRENT[placement.recurrent]
        self.operator = TimeOperator(placement.window)
        self.rnn = layer(SIZE, SIZE, batch_first=True)
        self.second = layer(SIZE, SIZE, batch_first=True)
        self.head = nn.Linear(SIZE, 3)

    def forward(self, x):
        place = self.placement.place
        if place == "before":
            y = self.rnn(self.operator(x))[0]
        elif place == "behind":
            y = self.operator(self.rnn(x)[0])
        elif place == "between":
            y = self.second(self.operator(self.rnn(x)[0]))[0]
        else:
            y = self.operator(x).tanh()
            cut = self.placement.window.span if self.placement.padding == "none" else 0
            y = self.rnn(x[:, cut:] + y)[0]
        return self.head(y)


def placements() -> list[Placement]:
    """Return the whole product, without what there is not."""
    product = itertools.product(
        OPERATORS, PADDINGS, (2, 3, 5), (1, 2), (1, 2, 3), PLACES, RECURRENT
    )
    return [one for one in itertools.starmap(Placement, product) if one.exists()]
