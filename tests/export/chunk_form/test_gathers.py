"""Frames that are taken by their numbers: framing, subsampling, frames repeated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgernn.export.chunk_form.gathers import pattern_of
from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check, refusal

Function = Callable[[BehindGru, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("function", "axis", "hop", "delay"),
    [
        (lambda _, x: x.unfold(2, 4, 2), 2, 2, 1),
        (lambda _, x: x.unfold(2, 4, 1).transpose(2, 3), 3, 1, 3),
        (lambda _, x: x[:, 0].unfold(1, 6, 4), 1, 4, 1),
        (lambda _, x: F.pad(x, (3, 0)).unfold(2, 4, 1), 2, 1, 0),
        (lambda _, x: F.unfold(x[:, :, None], (1, 4), stride=(1, 2)), 2, 2, 1),
        (lambda _, x: F.unfold(x[:, None], (4, 3)), 2, 1, 2),
        (lambda _, x: x[:, :, torch.arange(x.shape[2] // 2) * 2 + 1], 2, 2, 0),
        (
            lambda _, x: x[:, :, torch.arange(x.shape[2] - 2)[:, None] + torch.arange(3)],
            2,
            1,
            2,
        ),
    ],
)
def test_frames_of_a_sequence(function: Function, axis: int, hop: int, delay: int) -> None:
    """Each frame is a window of steps; its step is the hop."""
    check(BehindGru(function), SPEC, axis=axis, hop=hop, delay=delay, tail=0)


def test_frames_between_recurrent_layers() -> None:
    """Frames that are not defined yet do not change the state of the layer behind them."""
    module = BehindGru(
        lambda m, x: m.after(m.conv(x).unfold(2, 2, 2).transpose(1, 2).flatten(2))[0],
        conv=nn.Conv1d(4, 4, 3),
        after=nn.GRU(8, 4, batch_first=True),
    )
    check(module, SPEC, hop=2, delay=1)


def test_the_pattern_of_numbers() -> None:
    """Groups of numbers go on by a constant; other numbers have no pattern."""

    def runs(row: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        return [row(count) for count in (4, 4, 5, 7)]

    repeated = pattern_of(runs(lambda n: np.arange(n).repeat(3)))
    assert repeated is not None
    assert (repeated.offsets.tolist(), repeated.stride) == ([0, 0, 0], 1)
    windows = pattern_of(runs(lambda n: np.arange(n)[None] * 2 + np.arange(3)[:, None]))
    assert windows is not None
    assert (windows.offsets.tolist(), windows.stride, windows.axis) == ([[0, 1, 2]], 2, 1)
    assert pattern_of(runs(lambda n: np.arange(n)[::-1])) is None
    assert pattern_of(runs(lambda n: np.arange(n) ** 2)) is None


def test_steps_that_data_chooses_are_refused() -> None:
    """Which step is the greatest is known at the end alone."""
    module = BehindGru(lambda _, x: x[:, :, x[0, 0].argsort()])
    assert refusal(module, SPEC).endswith(": which steps it takes depends on data")
