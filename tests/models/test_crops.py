"""Forwards that look at the first or the last steps only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn import export_model
from tests.models.proof import proven, signature


class Crop(nn.Module):
    """A layer over some of the steps, or some of what it gives out."""

    def __init__(self, before, after):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.before, self.after = before, after

    def forward(self, x):
        y, _ = self.rnn(x[:, self.before])
        return y[..., self.after, :]


@pytest.mark.parametrize(
    ("before", "after"),
    [(slice(-20, None), slice(None)), (slice(None, 8), slice(-3, None))],
)
def test_a_crop_is_one_at_every_number_of_steps(before, after, tmp_path):
    """Fewer steps than it keeps stay as they are; its axis has a name of its own."""
    ports = proven(
        Crop(before, after),
        tmp_path,
        lambda b, t: {"x": torch.randn(b, t, 4)},
        sizes=((1, 1), (3, 8), (2, 20), (2, 41)),
        inputs=torch.randn(2, 9, 4),
    )
    assert ports == (
        "x: float32[batch, sequence, 4]; h[1, batch, 6], c[1, batch, 6] -> "
        "output: float32[batch, output_dim1, 6] (sequence)"
    )


class Window(nn.Module):
    """A convolution over the last two frames and the new ones; the last two go on."""

    def __init__(self):
        super().__init__()
        self.conv, self.rnn = nn.Conv1d(4, 8, 3), nn.GRU(8, 6, batch_first=True)

    def forward(self, x, past):
        window = torch.cat((past, x), 2)
        return self.rnn(self.conv(window).transpose(1, 2))[0], window[:, :, -2:]


def test_a_crop_that_is_never_shorter_keeps_its_size(tmp_path):
    """A context of two frames has two, however few frames come."""
    artifact = export_model(
        Window(),
        tmp_path / "m",
        inputs=["x:float32[batch,4,sequence]", "past:float32[batch,4,2]"],
        states={"past": 1},
        verify=False,
    )
    assert signature(artifact).partition(" -> ")[0] == (
        "x: float32[batch, 4, sequence]; past[batch, 4, 2], h[1, batch, 6]"
    )
