"""Cuts and padding along time shift a value; what comes before the start is a context."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check

Function = Callable[[BehindGru, torch.Tensor], torch.Tensor]

_SHIFTS: dict[str, Function] = {
    "zeros and a cut": lambda _, x: torch.cat((x.new_zeros(len(x), 4, 1), x[..., :-1]), 2),
    "zeros_like and a cut": lambda _, x: torch.cat((torch.zeros_like(x[..., :2]), x[..., :-2]), 2),
    "padding and a cut": lambda _, x: F.pad(x, (1, 0))[..., :-1],
    "a cut and padding": lambda _, x: F.pad(x[..., :-3], (3, 0), value=2.0),
    "a negative pad": lambda _, x: F.pad(x, (2, -2)),
    "differences": lambda _, x: F.pad(x, (1, 0)).diff(),
    "convolved and chomped": lambda m, x: m.conv(x)[..., :-4],
    "stacked": lambda _, x: torch.stack(
        [F.pad(x, (k, 0))[..., : x.shape[2]] for k in range(4)], 1
    ).flatten(1, 2),
}


@pytest.mark.parametrize("function", _SHIFTS.values(), ids=_SHIFTS)
def test_a_shift_to_later_steps_has_no_delay(function: Function) -> None:
    """The frames before the first one are the context's initial value: nothing is masked."""
    module = BehindGru(function, conv=nn.Conv1d(4, 4, 3, dilation=2, padding=4))
    form = check(module, SPEC, axis=2, delay=0, tail=0)
    (state,) = form.contexts
    assert "_context" in state.name


@pytest.mark.parametrize(
    ("function", "delay", "tail"),
    [
        (lambda _, x: x[..., 1:] - x[..., :-1], 1, 0),
        (lambda _, x: x.narrow(2, 2, x.shape[2] - 2), 2, 0),
        (lambda _, x: F.pad(x[..., :-2], (1, 1)), 1, 1),
        (lambda m, x: m.conv(x[..., :-2]), 2, 4),
        (lambda m, x: m.up(x[..., :-1]), 2, 2),
        (lambda _, x: F.max_pool1d(x[..., :-1], 3, 1, 1), 2, 1),
        (lambda m, x: m.rnn(x[..., :-1].transpose(1, 2))[0].transpose(1, 2), 1, 0),
        (lambda m, x: x[..., 4:] + m.conv(x)[..., 2:-6], 4, 0),
    ],
)
def test_what_a_cut_leaves_out_is_not_read(function: Function, delay: int, tail: int) -> None:
    """Steps that a model cuts off its end come in a stream, but do not reach its results."""
    module = BehindGru(
        function,
        conv=nn.Conv1d(4, 4, 3, dilation=2, padding=4),
        up=nn.ConvTranspose1d(4, 4, 4, stride=2),
    )
    check(module, SPEC, axis=2, delay=delay, tail=tail)
