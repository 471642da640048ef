"""Running results go on in the next chunk: what came so far is a state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tests.export.chunk_form import streams
from tests.export.chunk_form.streams import check, refusal
from tests.export.chunk_form.test_positions import SPEC, Front, InFront


def sums(x: torch.Tensor) -> torch.Tensor:
    """Add up."""
    return 0.1 * x.cumsum(1)


def sums_over_the_last_axis(x: torch.Tensor) -> torch.Tensor:
    """Add up, with time in the last axis."""
    return torch.cumsum(x.transpose(1, 2), -1).transpose(1, 2)


def sums_of_flags(x: torch.Tensor) -> torch.Tensor:
    """Count positive numbers."""
    return x / (1 + (x > 0).cumsum(1))


def means(x: torch.Tensor) -> torch.Tensor:
    """Divide by the mean so far."""
    count = torch.arange(1, x.shape[1] + 1, device=x.device)[None, :, None]
    return x / (x.abs().cumsum(1) / count + 1e-3)


def means_by_a_sum_of_ones(x: torch.Tensor) -> torch.Tensor:
    """Subtract the mean so far."""
    return x - x.cumsum(1) / torch.ones_like(x).cumsum(1)


def layer_norm(x: torch.Tensor) -> torch.Tensor:
    """Normalize by the mean and variance of all elements so far, as Conv-TasNet does."""
    x = x.transpose(1, 2)
    channels, steps = x.shape[1:]
    total, power = x.sum(1).cumsum(1), x.pow(2).sum(1).cumsum(1)
    count = torch.arange(channels, channels * (steps + 1), channels, dtype=x.dtype).view(1, -1)
    mean = total / count
    variance = (power - 2 * mean * total) / count + mean.pow(2)
    normal = (x - mean.unsqueeze(1)) / (variance + 1e-5).sqrt().unsqueeze(1)
    return normal.transpose(1, 2)


@pytest.mark.parametrize(
    ("front", "states"),
    [
        (sums, ["sum"]),
        (sums_over_the_last_axis, ["sum"]),
        (sums_of_flags, ["sum"]),
        (means, ["position", "sum"]),
        (means_by_a_sum_of_ones, ["sum", "position"]),
        (layer_norm, ["sum", "sum_2", "position"]),
    ],
)
def test_sums_are_states(front: Front, states: list[str]) -> None:
    """A sum of ones is the position; others are states of their own."""
    check(InFront(front), SPEC, states=states, hop=1, delay=0, tail=0)


def peak(x: torch.Tensor) -> torch.Tensor:
    """Divide by the largest number so far."""
    return x / (0.1 + x.abs().cummax(1).values)


def lowest(x: torch.Tensor) -> torch.Tensor:
    """Subtract the smallest number so far."""
    return x - torch.cummin(x, 1)[0]


def age_of_the_peak(x: torch.Tensor) -> torch.Tensor:
    """Subtract the step of the largest number so far."""
    return x + 0.01 * x.cummax(1).indices


def survival(x: torch.Tensor) -> torch.Tensor:
    """Multiply what is left after each step."""
    return torch.cumprod(torch.sigmoid(x), 1)


def log_of_sums(x: torch.Tensor) -> torch.Tensor:
    """Subtract the logarithm of the sum of exponentials so far."""
    return x - torch.logcumsumexp(x, 1)


@pytest.mark.parametrize(
    ("front", "states"),
    [
        (peak, ["maximum"]),
        (lowest, ["minimum"]),
        (age_of_the_peak, ["maximum", "maximum_2", "position"]),
        (survival, ["product"]),
        (log_of_sums, ["log_sum"]),
    ],
)
def test_running_results_are_states(front: Front, states: list[str]) -> None:
    """They start from a finite number that changes nothing."""
    form = check(InFront(front), SPEC, hop=1, delay=0)
    assert {state.name for state in form.contexts} == set(states)
    for state in form.contexts:
        assert state.initial is None or np.isfinite(state.initial).all()


class AfterDifferences(nn.Module):
    """A running result of what has no first frame, behind a convolution with a stride."""

    def __init__(self, running: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.running = running
        self.conv, self.rnn = nn.Conv1d(4, 4, 3, stride=2), nn.GRU(4, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        result: torch.Tensor = self.rnn(self.running(y[:, 1:] - y[:, :-1]))[0]
        return result


@pytest.mark.parametrize("running", [sums, means, peak, survival])
def test_they_start_with_the_first_frame_that_is_defined(running: Front) -> None:
    """What stands before it changes nothing."""
    check(AfterDifferences(running), SPEC, hop=2, delay=2)


def test_a_sum_from_the_end_is_refused() -> None:
    """It needs the last step first."""
    text = refusal(InFront(lambda x: x.flip(1).cumsum(1).flip(1)), SPEC)
    assert text.endswith("(Slice): it reads steps from the last to the first")


def test_a_sum_that_is_dropped_between_chunks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison fails where a state does not come back."""
    call = streams.Stream.__call__

    def forgetful(stream: streams.Stream, **data: streams.Array) -> dict[str, streams.Array]:
        outputs = call(stream, **data)
        stream.state["sum_in"] = np.zeros_like(stream.state["sum_in"])
        return outputs

    monkeypatch.setattr(streams.Stream, "__call__", forgetful)
    with pytest.raises(AssertionError, match=r"^\[1, 9, 2\] hops: by "):
        check(InFront(sums), SPEC)
