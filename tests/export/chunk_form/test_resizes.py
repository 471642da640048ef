"""Upsampling repeats every frame, so that a hop gives several."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check, refusal

Function = Callable[[BehindGru, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("function", "axis", "delay"),
    [
        (lambda m, x: F.interpolate(m.conv(x), scale_factor=2), 2, 4),
        (lambda m, x: F.interpolate(m.conv(x)[:, None], scale_factor=(2, 3)), 3, 6),
        (lambda m, x: m.conv(x).repeat_interleave(2, dim=2), 2, 4),
        (
            lambda m, x: m.conv(x).unflatten(1, (2, 2)).transpose(2, 3).flatten(2),
            2,
            4,
        ),
    ],
)
def test_every_frame_becomes_several(function: Function, axis: int, delay: int) -> None:
    """The delay counts the frames of the result."""
    check(BehindGru(function, conv=nn.Conv1d(4, 4, 3)), SPEC, axis=axis, hop=1, delay=delay)


def test_a_stride_and_its_upsampling() -> None:
    """As many frames go out as came in."""
    module = BehindGru(
        lambda m, x: m.up(m.conv(x)),
        conv=nn.Conv1d(4, 4, 3, stride=2, padding=1),
        up=nn.Upsample(scale_factor=2),
    )
    check(module, SPEC, axis=2, hop=2, delay=0, tail=0)


def test_fewer_frames_are_refused() -> None:
    """Half as many frames are taken from the middle of each pair."""
    module = BehindGru(
        lambda m, x: F.interpolate(m.conv(x), scale_factor=0.5), conv=nn.Conv1d(4, 4, 3)
    )
    assert refusal(module, SPEC).endswith("(Resize): it resizes time by no integer")
