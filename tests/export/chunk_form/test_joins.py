"""Frames in front of a sequence: constants, learned ones, and other ones for each pad."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check, refusal

Function = Callable[[BehindGru, torch.Tensor], torch.Tensor]


class _First(nn.Module):
    """Learned frames in front of a sequence, which loses as many at its end."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.frames = nn.Parameter(torch.arange(4.0 * count).reshape(1, 4, count) / 8 - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, 4, steps)."""
        first = self.frames.expand(x.shape[0], -1, -1)
        return torch.cat((first, x[..., : -self.frames.shape[2]]), 2)


_JOINS: dict[str, Function] = {
    "learned frames": lambda m, x: m.first(x),
    "learned frames, convolved": lambda m, x: m.conv(F.pad(m.first(x), (2, 0))),
    "learned frames and a sum": lambda m, x: x + m.first(x).relu(),
    "learned frames and a shift": lambda m, x: F.pad(x, (1, 0))[..., :-1] + m.first(x).relu(),
    "a step times 0": lambda _, x: torch.cat((x[..., :1] * 0, x[..., :-1]), 2),
    "another constant for each pad": lambda m, x: m.conv(
        F.pad(F.pad(x, (1, 0), value=1.0), (1, 0), value=2.0)
    ),
    "a sum of constants": lambda m, x: m.conv(F.pad(x, (2, 0), value=1.0) * 3 + 1),
}


@pytest.mark.parametrize("function", _JOINS.values(), ids=_JOINS)
def test_frames_in_front_start_a_context(function: Function) -> None:
    """What is put before the first step is the initial value of a context."""
    module = BehindGru(function, first=_First(2), conv=nn.Conv1d(4, 4, 3))
    form = check(module, SPEC, axis=2, delay=0, tail=0)
    assert all("_context" in state.name for state in form.contexts)


@pytest.mark.parametrize(("mode", "sides"), [("reflect", (2, 0)), ("replicate", (0, 1))])
def test_padding_that_reads_other_steps_is_refused(mode: str, sides: tuple[int, int]) -> None:
    """The reason names torch's mode."""
    module = BehindGru(lambda _, x: F.pad(x, sides, mode=mode))
    assert refusal(module, SPEC).endswith(
        f"(Pad): it pads time in mode `{mode}`, which reads steps before they are there"
    )


def test_sequences_joined_are_refused() -> None:
    """The second one would start where the first ends, which a stream does not know."""
    module = BehindGru(lambda _, x: torch.cat((x, x.relu()), 2))
    assert refusal(module, SPEC).endswith("(Concat): it joins sequences one after the other")


def test_a_roll_is_refused_where_its_first_steps_are_read() -> None:
    """They are the last ones of the sequence."""
    reason = "its first steps are the last ones of the sequence, as `torch.roll` puts them"
    assert refusal(BehindGru(lambda _, x: x.roll(1, 2)), SPEC).endswith(reason)
    assert refusal(BehindGru(lambda _, x: x + x.roll(1, 2)), SPEC).endswith(reason)
