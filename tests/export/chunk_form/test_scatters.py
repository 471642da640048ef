"""Frames written by their numbers: added where they overlap, or over the first ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check, refusal


def _index_add(_: BehindGru, x: torch.Tensor) -> torch.Tensor:
    frames = x.transpose(1, 2)
    places = torch.arange(x.shape[2])[:, None] * 2 + torch.arange(4)
    zeros = torch.zeros(x.shape[0], x.shape[2] * 2 + 2)
    return zeros.index_add(1, places.flatten(), frames.flatten(1))


def _scatter_add(_: BehindGru, x: torch.Tensor) -> torch.Tensor:
    frames = x.transpose(1, 2)
    places = (torch.arange(x.shape[2])[:, None] * 2 + torch.arange(4)).flatten()
    zeros = torch.zeros(x.shape[0], x.shape[2] * 2 + 2)
    return zeros.scatter_add(1, places[None].expand(x.shape[0], -1), frames.flatten(1))


def _convolved_and_added(m: BehindGru, x: torch.Tensor) -> torch.Tensor:
    return _index_add(m, m.conv(x))


@pytest.mark.parametrize(
    ("function", "delay"), [(_index_add, 0), (_scatter_add, 0), (_convolved_and_added, 4)]
)
def test_frames_that_overlap_are_added(
    function: Callable[[BehindGru, torch.Tensor], torch.Tensor], delay: int
) -> None:
    """The sums that later frames add to are a state."""
    form = check(BehindGru(function, conv=nn.Conv1d(4, 4, 3)), SPEC, hop=1, delay=delay, tail=2)
    assert form.contexts[-1].name.endswith("_overlap")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_roll_whose_first_frames_are_overwritten(count: int) -> None:
    """It is a shift by two steps."""

    def function(_: BehindGru, x: torch.Tensor) -> torch.Tensor:
        rolled = torch.roll(x.transpose(1, 2), min(count, 2), 1)
        rolled[:, :count] = 0
        return rolled

    check(BehindGru(function), SPEC, delay=0, tail=0)


def test_first_frames_overwritten_behind_a_convolution() -> None:
    """The first frames are those of the convolution, not of the stream."""

    def function(m: BehindGru, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = m.conv(x).transpose(1, 2).clone()
        y[:, :2] = 1.0
        return y

    check(BehindGru(function, conv=nn.Conv1d(4, 4, 3)), SPEC, delay=2, tail=0)


def test_other_frames_are_refused() -> None:
    """The last frame of a sequence is not known in a stream."""

    def function(_: BehindGru, x: torch.Tensor) -> torch.Tensor:
        y = x.transpose(1, 2).clone()
        y[:, -1:] = 0
        return y

    assert refusal(BehindGru(function), SPEC).endswith(
        "(ScatterND): it writes to other steps than the first ones"
    )
