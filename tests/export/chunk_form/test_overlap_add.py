"""Decoders add frames that overlap: the sums that a chunk does not complete are a state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check


@pytest.mark.parametrize(
    ("options", "delay", "tail"),
    [
        ({"kernel_size": 4, "stride": 2}, 0, 2),
        ({"kernel_size": 4, "stride": 2, "padding": 1}, 1, 1),
        ({"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}, 1, 1),
        ({"kernel_size": 3, "stride": 2, "output_padding": 1}, 0, 2),
        ({"kernel_size": 3, "dilation": 3, "bias": False}, 0, 6),
        ({"kernel_size": 8, "stride": 2, "groups": 2}, 0, 6),
    ],
)
def test_a_transposed_convolution_keeps_the_sums_that_overlap(
    options: dict[str, Any], delay: int, tail: int
) -> None:
    """Its crop at the front is a delay, and what the last frames add beyond the end is a tail."""
    module = BehindGru(lambda m, x: m.up(x), up=nn.ConvTranspose1d(4, 6, **options))
    form = check(module, SPEC, axis=2, states=["up_overlap"], hop=1, delay=delay, tail=tail)
    assert form.streaming.padding == {}, "no padding of the input gives sums of later frames"


def test_a_kernel_below_the_stride_has_nothing_to_keep() -> None:
    """The result lacks a frame at its end, so that it comes one later."""
    module = BehindGru(lambda m, x: m.up(x), up=nn.ConvTranspose1d(4, 6, 2, stride=3))
    check(module, SPEC, axis=2, hop=1, delay=1, tail=0)


def test_decoders_that_crop() -> None:
    """A causal decoder cuts the end off, another one the front."""
    up = nn.ConvTranspose1d(4, 6, 4, stride=2)
    check(BehindGru(lambda m, x: m.up(x)[..., :-2], up=up), SPEC, axis=2, delay=0, tail=0)
    check(BehindGru(lambda m, x: m.up(x)[..., 2:], up=up), SPEC, axis=2, delay=2, tail=2)


def test_two_axes() -> None:
    """Time may be either axis; the other one keeps its stride and padding."""
    up = nn.ConvTranspose2d(1, 2, (3, 2), stride=(2, 1), padding=(1, 0))
    check(BehindGru(lambda m, x: m.up(x[:, None])[..., :-1], up=up), SPEC, axis=3, delay=0, tail=0)
    up = nn.ConvTranspose2d(1, 2, (4, 3), stride=(2, 1), padding=(0, 1))
    module = BehindGru(lambda m, x: m.up(x.transpose(1, 2)[:, None]), up=up)
    check(module, SPEC, axis=2, delay=0, tail=2)


@pytest.mark.parametrize("crop", [0, 2, 4, 6])
@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("bias", [False, True])
def test_padding_in_front_of_a_decoder(crop: int, value: float, bias: bool) -> None:
    """Zeros add nothing, so that what is cut off in front again costs no delay."""
    up = nn.ConvTranspose1d(4, 6, 3, dilation=2, padding=crop, bias=bias)
    module = BehindGru(lambda m, x: m.up(F.pad(x, (4, 0), value=value)), up=up)
    check(module, SPEC, axis=2, hop=1, delay=crop if value else 2 * max(0, crop - 4))


def test_frames_before_a_decoder_meet_a_convolution() -> None:
    """What a decoder makes of padding is its bias, which the next operator reads."""
    up, conv = nn.ConvTranspose1d(4, 6, 2, stride=2), nn.Conv1d(6, 5, 7)
    module = BehindGru(lambda m, x: m.conv(m.up(F.pad(x, (3, 0)))), up=up, conv=conv)
    check(module, SPEC, axis=2, hop=1, delay=0, tail=0)


@pytest.mark.parametrize("left", [0, 2])
def test_an_encoder_and_its_decoder(left: int) -> None:
    """Frames of the encoder that are not defined yet add nothing."""
    module = BehindGru(
        lambda m, x: m.up(m.down(F.pad(x, (left, 0)))),
        down=nn.Conv1d(4, 5, 4, stride=2),
        up=nn.ConvTranspose1d(5, 6, 4, stride=2),
    )
    check(module, SPEC, axis=2, hop=2, delay=2 - left, tail=2)


@pytest.mark.parametrize("stride", [2, 4])
def test_a_fold_along_time(stride: int) -> None:
    """`F.fold` adds columns of an image of one row; at the stride of its width it keeps nothing."""

    def function(m: BehindGru, x: torch.Tensor) -> torch.Tensor:
        y = m.conv(x)
        return F.fold(y, (1, (y.shape[2] - 1) * stride + 4), (1, 4), stride=(1, stride))[:, :, 0]

    module = BehindGru(function, conv=nn.Conv1d(4, 8, 3, stride=2))
    check(module, SPEC, axis=2, hop=2, delay=stride, tail=4 - stride)
