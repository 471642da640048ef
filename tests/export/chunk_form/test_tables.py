"""Tables that are looked up by position are looked up in chunks, and limit the position."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgernn.export.chunk_form.chunk_form import ChunkForm
from tests.export.chunk_form.streams import check, refusal, stream_of

SPEC = "x:float32[batch,sequence,4]"


class Learned(nn.Module):
    """A learned embedding of the positions before a GRU."""

    def __init__(self, rows: int = 32) -> None:
        super().__init__()
        self.place = nn.Embedding(rows, 4)
        self.rnn = nn.GRU(4, 8, batch_first=True)

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return the position of each step."""
        return torch.arange(x.shape[1], device=x.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 8)."""
        result: torch.Tensor = self.rnn(x + self.place(self.positions(x)))[0]
        return result


class Expanded(Learned):
    """One row of positions for each sequence, from 2 on."""

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return the position of each step."""
        return (torch.arange(x.size(1)) + 2).unsqueeze(0).expand(x.size(0), x.size(1))


class Repeated(Learned):
    """One row of positions for each sequence, every other one."""

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return the position of each step."""
        return (2 * torch.arange(x.size(1))).repeat(x.size(0), 1)


class Summed(Learned):
    """Positions as a sum of ones."""

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return the position of each step."""
        return torch.ones(x.shape[:2], dtype=torch.long).cumsum(1) - 1


class Clamped(Learned):
    """The last position for all that are past the table."""

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return the position of each step."""
        return torch.arange(x.shape[1]).clamp(max=5)


class Kept(Learned):
    """A table of positions, as published transformers keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("position_ids", torch.arange(24).expand(1, -1))

    def positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return the position of each step."""
        assert isinstance(self.position_ids, torch.Tensor)
        return self.position_ids[:, : x.shape[1]]


def limit_of(form: ChunkForm) -> int | None:
    """Return the limit of the only state, the position."""
    (state,) = form.contexts
    assert state.name == "position"
    return state.limit


@pytest.mark.parametrize(
    ("module", "limit"),
    [(Learned(), 32), (Expanded(), 30), (Repeated(), 16), (Summed(), 32), (Kept(), 24)],
    ids=lambda one: type(one).__name__ if isinstance(one, nn.Module) else "",
)
def test_an_embedding_of_positions_limits_them(module: nn.Module, limit: int) -> None:
    """A stream may have as many hops as the table has rows for."""
    assert limit_of(check(module, SPEC, delay=0)) == limit


def test_positions_within_bounds_of_their_own_have_no_limit() -> None:
    """A table is not left where forward sees to it."""
    assert limit_of(check(Clamped(rows=6), SPEC)) is None


class Sinusoids(nn.Module):
    """A table of sinusoids, cut at the number of steps."""

    def __init__(self, first: int, stride: int = 1, after: bool = False) -> None:
        super().__init__()
        self.first, self.stride, self.after = first, stride, after
        place = torch.arange(40.0)[:, None] / torch.tensor([1.0, 1.0, 10.0, 10.0])
        self.register_buffer("pe", torch.where(torch.arange(4) % 2 == 0, place.sin(), place.cos()))
        self.conv = nn.Conv1d(4, 4, 3, stride=stride)
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 4)."""
        assert isinstance(self.pe, torch.Tensor)
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        if self.after:
            y = self.rnn(y)[0]
        y = y + self.pe[None, self.first : self.first + y.size(1), :4]
        result: torch.Tensor = y if self.after else self.rnn(y)[0]
        return result


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("first", "stride", "limit"), [(0, 1, 42), (3, 1, 39), (0, 2, 41)], ids=str
)
def test_a_cut_table_follows_the_frames(first: int, stride: int, limit: int, after: bool) -> None:
    """Its first row is that of the first frame that is defined."""
    form = check(Sinusoids(first, stride, after), SPEC, hop=stride)
    assert {state.name: state.limit for state in form.contexts}["position"] == limit


class Padded(Learned):
    """Positions that meet a convolution padded at both ends."""

    def __init__(self) -> None:
        super().__init__(rows=16)
        self.conv = nn.Conv1d(4, 4, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 8)."""
        y = self.conv(x.transpose(1, 2)).transpose(1, 2) + self.place(self.positions(x))
        result: torch.Tensor = self.rnn(y)[0]
        return result


def test_steps_after_the_end_read_no_row_past_the_table() -> None:
    """Padding after the end gives the last frames; its own rows are not used."""
    module = Padded()
    form = check(module, SPEC, delay=2, tail=2)
    limits = {state.name: state.limit for state in form.contexts}
    assert limits["position"] == 16
    data = np.random.default_rng(0).standard_normal((1, 18, 4)).astype(np.float32)
    data[:, 16:] = 0
    stream = stream_of(form, form.sequence, 1)
    got = stream(x=data)["output"]
    with torch.no_grad():
        expected = module(torch.from_numpy(data[:, :16])).numpy()
    np.testing.assert_allclose(got[:, 2:], expected, atol=1e-5)


class FromTheEnd(Learned):
    """The last rows of a table."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, sequence, 8)."""
        result: torch.Tensor = self.rnn(x + self.place.weight[32 - x.size(1) :])[0]
        return result


def test_a_table_that_is_cut_at_its_start_is_refused() -> None:
    """Which row is the first one depends on the number of steps."""
    assert refusal(FromTheEnd(), SPEC).endswith(
        "(Slice): it takes rows from the end of a table, or at a stride"
    )
