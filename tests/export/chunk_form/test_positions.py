"""Numbers of steps are counted on from chunk to chunk."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.export.chunk_form.streams import check, refusal

SPEC = "x:float32[batch,sequence,4]"

Front = Callable[[torch.Tensor], torch.Tensor]


class InFront(nn.Module):
    """A function of x in front of a GRU."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self.front, self.rnn = front, nn.GRU(4, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 8)."""
        result: torch.Tensor = self.rnn(self.front(x))[0]
        return result


def from_one(x: torch.Tensor) -> torch.Tensor:
    """Scale by the logarithm of the number of each step, counted from 1."""
    return x * torch.arange(1, x.shape[1] + 1, dtype=torch.float32)[None, :, None].log()


def at_a_stride(x: torch.Tensor) -> torch.Tensor:
    """Scale by every second number."""
    return x / torch.arange(3, 2 * x.shape[1] + 3, 2)[:, None]


def in_seconds(x: torch.Tensor) -> torch.Tensor:
    """Put the time in seconds beside the features."""
    seconds = torch.arange(x.shape[1]).to(x.dtype) / 100
    return torch.cat((x[..., :3], seconds[None, :, None].expand(x.shape[0], -1, 1)), -1)


def sinusoids(x: torch.Tensor) -> torch.Tensor:
    """Add sinusoids of the position, computed anew."""
    angle = torch.outer(torch.arange(x.size(1)).float(), torch.tensor([1.0, 0.1]))
    return x + torch.cat((angle.sin(), angle.cos()), -1)


@pytest.mark.parametrize("front", [from_one, at_a_stride, in_seconds, sinusoids])
def test_positions_go_on_in_the_next_chunk(front: Front) -> None:
    """One state counts the hops; it has no limit where no table is looked up."""
    form = check(InFront(front), SPEC, states=["position"], hop=1, delay=0, tail=0)
    assert form.contexts[0].limit is None


def from_the_end(x: torch.Tensor) -> torch.Tensor:
    """Scale by how many steps follow."""
    return x * torch.arange(x.shape[1] - 1, -1, -1)[:, None]


def part_of_the_whole(x: torch.Tensor) -> torch.Tensor:
    """Scale by the part of the sequence that has passed."""
    return x * torch.arange(x.shape[1])[:, None] / x.shape[1]


def test_counting_from_the_end_is_refused() -> None:
    """A stream does not know its end."""
    assert refusal(InFront(from_the_end), SPEC).endswith(
        "(Range): it counts back from the end of the sequence"
    )


def test_dividing_by_the_number_of_steps_is_refused() -> None:
    """The number of steps is known at the end only."""
    text = refusal(InFront(part_of_the_whole), SPEC)
    assert "(Div): forward computes with the number of steps (`" in text
    assert text.endswith("`), which a stream does not know before its end")
