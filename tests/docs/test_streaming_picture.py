"""The picture of hop, context, delay and tail, and the convolution that it shows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from edgernn.cli.picture.svg_picture import svg_of
from tests.docs.streaming_picture import CONTEXT, HOPS, KERNEL, PADDING, STRIDE, picture

FILE = Path(__file__).parents[2] / "docs" / "images" / "streaming.svg"


def test_picture_is_the_one_of_the_page() -> None:
    """docs/images/streaming.svg is what the module draws; `scripts/docs` writes it anew."""
    assert FILE.read_text("utf-8") == svg_of(picture())


def test_calls_give_what_the_picture_says() -> None:
    """From context and hop alone, call n gives frame n - 1; `finish` gives the last one."""
    x, kernel = torch.randn(1, 1, HOPS * STRIDE), torch.randn(1, 1, KERNEL)
    frames = F.conv1d(x, kernel, stride=STRIDE, padding=PADDING)
    assert frames.shape[2] == HOPS
    context = torch.zeros(1, 1, CONTEXT)
    hops = [*x.split(STRIDE, 2), torch.zeros(1, 1, STRIDE)]
    for call, hop in enumerate(hops):
        window = torch.cat((context, hop), 2)
        frame = F.conv1d(window, kernel, stride=STRIDE)
        if call:
            torch.testing.assert_close(frame[..., 0], frames[..., call - 1])
        context = window[..., STRIDE:]


def test_texts_stay_on_the_page() -> None:
    """No text is wider than its place."""
    drawn = picture()
    for text in drawn.texts:
        assert 0 < text.span[0] < text.span[1] < drawn.width, text.shown
