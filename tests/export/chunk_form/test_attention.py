"""Attention over a window of past steps keeps the keys and values of that window."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form import streams
from tests.export.chunk_form.streams import check, refusal

SPEC = "x:float32[batch,sequence,4]"
STATES = {"position", "keys_context", "values_context"}


def distances(x: torch.Tensor) -> torch.Tensor:
    """Return how many steps each column is before each row."""
    steps = torch.arange(x.shape[1], device=x.device)
    return steps[:, None] - steps[None, :]


class Attentive(nn.Module):
    """Attention of one head in front of a GRU; each step looks at itself and 3 before it."""

    def __init__(self, after: bool = False) -> None:
        super().__init__()
        self.after = after
        self.q, self.k, self.v = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the window."""
        distance = distances(x)
        return scores.masked_fill((distance < 0) | (distance > 3), float("-inf"))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(4)
        result: torch.Tensor = x + self.masked(scores, x).softmax(-1) @ self.v(x)
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        if self.after:
            return self.attend(self.rnn(x)[0])
        result: torch.Tensor = self.rnn(self.attend(x))[0]
        return result


class Triangles(Attentive):
    """The window as the part between two diagonals."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the window."""
        steps = x.shape[1]
        mask = torch.ones(steps, steps).tril().triu(-3)
        return scores.masked_fill(mask == 0, float("-inf"))


class Flags(Attentive):
    """The window as flags, with a large number in place of the infinity."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the window."""
        flags = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return scores.masked_fill(~(flags & ~flags.tril(-4)), -1e9)


class Biased(Attentive):
    """The window, and a learned bias for each distance."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Embedding(4, 1)

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the window."""
        bias = self.bias(distances(x).clamp(0, 3))[..., 0]
        return super().masked(scores + bias - 0.1 * distances(x), x)


class Fused(Attentive):
    """The same by torch's own function."""

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        mask = (distances(x) >= 0) & (distances(x) < 4)
        return x + F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), attn_mask=mask)


class Heads(Attentive):
    """Two heads, by Einstein's sums."""

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        q, k, v = (f(x).unflatten(-1, (2, 2)) for f in (self.q, self.k, self.v))
        scores = self.masked(torch.einsum("bqhd,bkhd->bhqk", q, k), x)
        return x + torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)


class Layer(nn.Module):
    """torch's layer of attention between two GRUs."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.weights = weights
        self.before = nn.GRU(4, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.after = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        x = self.before(x)[0]
        mask = (distances(x) < 0) | (distances(x) > 3)
        y = self.attention(x, x, x, attn_mask=mask, need_weights=self.weights)[0]
        result: torch.Tensor = self.after(x + y)[0]
        return result


class Linear(Attentive):
    """Attention without a softmax, whose weights decay."""

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        distance = distances(x)
        decay = torch.where((distance >= 0) & (distance < 5), 0.5 ** distance.abs(), 0.0)
        result: torch.Tensor = x + (self.q(x) @ self.k(x).transpose(1, 2) * decay) @ self.v(x)
        return result


MODULES = [
    Attentive(),
    Attentive(after=True),
    Triangles(),
    Flags(),
    Biased(),
    Fused(),
    Heads(),
    Layer(weights=False),
    Layer(weights=True),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda one: type(one).__name__)
def test_keys_and_values_of_the_window_are_states(module: nn.Module) -> None:
    """However the mask is written, the window is found."""
    form = check(module, SPEC, hop=1, delay=0, tail=0)
    assert {state.name for state in form.contexts} == STATES
    sizes = {port.name: port.shape for port in form.sequence.graph.inputs}
    for name in ("keys_context_in", "values_context_in"):
        shape = sizes[name]
        assert shape is not None
        assert 3 in list(shape)


def test_weights_need_no_softmax() -> None:
    """Where they are 0 ends the window."""
    form = check(Linear(), SPEC, delay=0)
    shapes = [list(port.shape or ()) for port in form.sequence.graph.inputs]
    assert any(4 in shape and "batch" in map(str, shape) for shape in shapes)


class Ahead(Attentive):
    """Each step looks at two after it."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the window."""
        distance = distances(x)
        return scores.masked_fill((distance < -2) | (distance > 3), float("-inf"))


def test_a_bounded_look_ahead_is_a_delay() -> None:
    """The last steps look past the end: a stream does not have them."""
    form = check(Ahead(), SPEC, delay=2, tail=2)
    assert form.streaming.padding == {}


class Framed(Attentive):
    """The same behind a convolution without padding, at half the rate."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.conv = nn.Conv1d(4, 4, 4, stride=2)

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the window."""
        distance = distances(x)
        return scores.masked_fill((distance < -self.ahead) | (distance > 3), float("-inf"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 4)."""
        return super().forward(self.conv(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("ahead", [0, 1])
def test_frames_that_are_not_defined_are_no_keys(ahead: int) -> None:
    """The first frame looks at itself alone."""
    check(Framed(ahead), SPEC, hop=2, delay=1 + ahead, tail=ahead)


class Causal(Attentive):
    """Each step looks at all steps before it."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small for later steps."""
        return scores.masked_fill(distances(x) < 0, float("-inf"))


class FusedCausal(Attentive):
    """The same by torch's own function."""

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 4)."""
        return x + F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), is_causal=True)


@pytest.mark.parametrize("module", [Causal(), FusedCausal()], ids=lambda one: type(one).__name__)
def test_a_window_of_all_past_steps_is_refused(module: nn.Module) -> None:
    """What it remembers has no bound."""
    assert refusal(module, SPEC).endswith(
        "(MatMul): every step attends to all steps before it: what that remembers grows without "
        "bound"
    )


class Blocks(Attentive):
    """Each step looks at its block of four."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores that are small outside the block."""
        block = torch.arange(x.shape[1]) // 4
        return scores.masked_fill(block[:, None] != block[None, :], float("-inf"))


class Everywhere(Attentive):
    """Each step looks at all steps."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores."""
        return scores + 0 * distances(x)


class Fading(Attentive):
    """Each step looks at all steps, less at those far away."""

    def masked(self, scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return scores."""
        return scores - distances(x).abs()


def test_a_mask_that_is_no_band_is_refused() -> None:
    """What a step looks at must follow from the distance."""
    assert refusal(Blocks(), SPEC).endswith(
        "(Where): its mask depends on more than how far two steps are apart"
    )


def test_looking_at_all_steps_is_refused() -> None:
    """A stream does not have them."""
    assert refusal(Everywhere(), SPEC).endswith(
        "(MatMul): it attends to all steps: it needs all of them at once"
    )


def test_weights_that_become_small_are_refused() -> None:
    """Where they are 0 depends on the data."""
    assert refusal(Fading(), SPEC).endswith(
        "(MatMul): its weights become small with the distance of two steps, but do not end"
    )


def test_values_that_are_dropped_between_chunks_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison fails where a state does not come back."""
    call = streams.Stream.__call__

    def forgetful(stream: streams.Stream, **data: streams.Array) -> dict[str, streams.Array]:
        outputs = call(stream, **data)
        stream.state["values_context_in"] = np.zeros_like(stream.state["values_context_in"])
        return outputs

    monkeypatch.setattr(streams.Stream, "__call__", forgetful)
    with pytest.raises(AssertionError, match=r"^\[1, 9, 2\] hops: by "):
        check(Attentive(), SPEC)
