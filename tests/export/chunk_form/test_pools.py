"""Pools along time read a window of frames; what pads them is counted as torch counts it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check, refusal


@pytest.mark.parametrize(
    ("options", "delay", "tail"),
    [
        ({"kernel_size": 3, "stride": 2, "padding": 1}, 0, 0),
        ({"kernel_size": 3, "stride": 2}, 1, 0),
        ({"kernel_size": 3, "stride": 2, "ceil_mode": True}, 1, 1),
        ({"kernel_size": 4, "stride": 3, "padding": 1, "ceil_mode": True}, 0, 1),
    ],
)
@pytest.mark.parametrize("pool", [F.avg_pool1d, F.max_pool1d])
def test_a_pool_keeps_the_frames_of_its_window(
    pool: Any, options: dict[str, Any], delay: int, tail: int
) -> None:
    """Its stride is the hop; its padding is zeros, or below every number."""
    module = BehindGru(lambda _, x: pool(x, **options))
    names = {F.avg_pool1d: "averagepool_context", F.max_pool1d: "maxpool_context"}
    check(module, SPEC, axis=2, states=[names[pool]], hop=options["stride"], delay=delay, tail=tail)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (4, 1, 2), (5, 2, 2)])
def test_means_without_the_padding_divide_by_what_is_there(
    kernel: int, stride: int, padding: int
) -> None:
    """The first frames of a sequence are means of fewer steps."""
    pool = nn.AvgPool1d(kernel, stride, padding, count_include_pad=False)
    module = BehindGru(lambda m, x: m.pool(x), pool=pool)
    check(module, SPEC, axis=2, states=["averagepool_context", "position"])


def test_padding_behind_frames_that_are_not_defined_yet() -> None:
    """A pool pads what a valid convolution gives, not what comes before it."""
    module = BehindGru(lambda m, x: F.max_pool1d(m.conv(x) - 9, 3, 1, 1), conv=nn.Conv1d(4, 4, 3))
    check(
        module,
        SPEC,
        axis=2,
        states=["conv_context", "position", "maxpool_context"],
        delay=3,
        tail=1,
    )


def test_a_dilated_pool_and_a_norm() -> None:
    """Dilation makes the window longer; lp_pool is a mean of powers."""
    check(
        BehindGru(lambda _, x: F.max_pool1d(x, 3, 1, 1, dilation=2)), SPEC, axis=2, delay=3, tail=1
    )
    check(BehindGru(lambda _, x: F.lp_pool1d(x, 2.0, 3, 2)), SPEC, axis=2, hop=2, delay=1)


@pytest.mark.parametrize("time", [2, 3])
@pytest.mark.parametrize(
    ("pool", "options"),
    [(F.avg_pool2d, {"count_include_pad": False}), (F.max_pool2d, {"ceil_mode": True})],
)
def test_pools_over_two_axes(time: int, pool: Any, options: dict[str, bool]) -> None:
    """Time may be either of them; the other one keeps its padding and rounding."""

    def function(_: BehindGru, x: torch.Tensor) -> torch.Tensor:
        image = x[:, None] if time == 3 else x.transpose(1, 2)[:, None]
        stride = (2, 1) if time == 3 else (1, 2)
        result: torch.Tensor = pool(image, 3, stride, 1, **options)
        return result

    check(BehindGru(function), SPEC, axis=time, delay=1, tail=1)


def test_pools_beside_time_have_no_memory() -> None:
    """A pool over the bins alone adds no state to that of the convolution before it."""
    module = BehindGru(
        lambda m, x: F.adaptive_avg_pool2d(m.conv(x[:, None]), (1, None)),
        conv=nn.Conv2d(1, 2, (3, 3), padding=(1, 0)),
    )
    check(module, SPEC, axis=3, states=["conv_context"], delay=2)


def test_numbers_of_steps_are_refused() -> None:
    """The indices of a MaxPool count from the start of a chunk."""
    module = BehindGru(lambda _, x: F.max_pool1d(x, 3, 1, return_indices=True)[1].float())
    reason = refusal(module, SPEC)
    assert reason.endswith("(MaxPool): it numbers the steps that it takes")
