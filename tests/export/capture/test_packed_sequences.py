"""Packed sequences: forward with pack_padded_sequence, and lengths given to a model without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import edgernn
from edgernn.errors import InputError

LENGTHS = torch.tensor([7, 2, 5, 1])
TOKENS = torch.randint(9, (4, 7), generator=torch.Generator().manual_seed(0))


class Packed(nn.Module):
    """Embedding, packed layer, head; `batch_first` and `sorted_` as the test chooses."""

    def __init__(
        self, kind: str, bidirectional: bool, batch_first: bool, sorted_: bool, **options: Any
    ) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.batch_first, self.sorted = batch_first, sorted_
        self.embedding = nn.Embedding(9, 3)
        self.rnn = getattr(nn, kind)(
            3, 4, 2, batch_first=batch_first, bidirectional=bidirectional, **options
        )
        width = (options.get("proj_size") or 4) * (2 if bidirectional else 1)
        self.head = nn.Linear(width, 5)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> Any:
        packed = pack_padded_sequence(
            self.embedding(tokens),
            lengths.cpu(),
            batch_first=self.batch_first,
            enforce_sorted=self.sorted,
        )
        y, state = self.rnn(packed)
        y, _ = pad_packed_sequence(y, batch_first=self.batch_first, padding_value=-1.0)
        return self.head(y), state


@pytest.mark.parametrize(
    ("kind", "bidirectional", "batch_first", "sorted_", "options"),
    [
        ("LSTM", True, True, False, {}),
        ("LSTM", False, False, True, {}),
        ("LSTM", True, True, False, {"proj_size": 2}),
        ("GRU", True, False, False, {}),
        ("GRU", False, True, True, {}),
        ("RNN", True, True, False, {"nonlinearity": "relu"}),
        ("RNN", False, True, False, {}),
    ],
    ids=str,
)
def test_final_state_is_of_each_sequences_last_step(
    tmp_path: Path,
    kind: str,
    bidirectional: bool,
    batch_first: bool,
    sorted_: bool,
    options: dict[str, Any],
) -> None:
    """Outputs and final states of unequal lengths are eager torch's, padding included."""
    model = Packed(kind, bidirectional, batch_first, sorted_, **options).eval()
    tokens = TOKENS if batch_first else TOKENS.T.contiguous()
    lengths = LENGTHS.sort(descending=True)[0] if sorted_ else LENGTHS
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", inputs=(tokens, lengths))
    assert artifact.contract.lengths == ("lengths",)
    assert (artifact.step is None) == bidirectional
    with torch.no_grad():
        y, state = model(tokens, lengths)
    got = edgernn.load(artifact.path).run({"tokens": tokens.numpy(), "lengths": lengths.numpy()})
    np.testing.assert_allclose(got.outputs["output"], y, atol=1e-5)
    finals = state if isinstance(state, tuple) else (state,)
    for name, final in zip("hc", finals, strict=False):
        np.testing.assert_allclose(got.state[name], final, atol=1e-5)


def test_no_lengths_means_all_steps(tmp_path: Path) -> None:
    """Lengths left out are those of the arrays; steps and chunks need none."""
    model = Packed("LSTM", False, True, False).eval()
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", inputs=(TOKENS, LENGTHS))
    loaded = edgernn.load(artifact.path)
    with torch.no_grad():
        y = model(TOKENS, torch.full((4,), 7))[0].numpy()
    np.testing.assert_allclose(loaded(TOKENS.numpy()), y, atol=1e-5)
    stream = loaded.stream(4)
    parts = [stream.feed(TOKENS[:, :3].numpy()), stream.feed(TOKENS[:, 3:6].numpy())]
    last = stream.step(TOKENS[:, 6].numpy())
    np.testing.assert_allclose(np.concatenate([*parts, last[:, None]], 1), y, atol=1e-5)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 0], "`lengths: int64[batch]` has length 0 at 1; sequences of this call have 1 to 3"),
        ([4, 1], "`lengths: int64[batch]` has length 4 at 0; sequences of this call have 1 to 3"),
    ],
)
def test_wrong_lengths(tmp_path: Path, lengths: list[int], message: str) -> None:
    """A length below one step or beyond the array is refused."""
    model = Packed("GRU", True, True, False).eval()
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", inputs=(TOKENS, LENGTHS))
    with pytest.raises(InputError) as refused:
        edgernn.load(artifact.path)(TOKENS[:2, :3].numpy(), lengths=lengths)
    assert str(refused.value) == f"{message} steps."


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
        self.second = nn.GRU(8, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(x)[0])[0]
        return y


def test_lengths_added(tmp_path: Path) -> None:
    """With `lengths=True` each sequence of a batch gives what it gives alone, zeros behind it."""
    model = Plain().eval()
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", lengths=True)
    x = torch.randn(4, 7, 3)
    got = edgernn.load(artifact.path)(x.numpy(), lengths=LENGTHS.numpy())
    for row, length in enumerate(LENGTHS.tolist()):
        with torch.no_grad():
            alone = model(x[row : row + 1, :length])[0]
        np.testing.assert_allclose(got[row, :length], alone, atol=1e-5)
        assert not got[row, length:].any()


class CellLoop(nn.Module):
    """A loop over time around a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):
        h = None
        for x_t in x:
            h = self.cell(x_t, h)
        return h


def test_cells_cannot_be_given_lengths(tmp_path):
    """Where a loop around cells ends is forward's own business, so lengths are refused."""
    with pytest.raises(InputError) as refused:
        edgernn.export_model(
            CellLoop(), tmp_path / "m.edgernn", inputs=(torch.randn(5, 2, 3),), lengths=True
        )
    assert str(refused.value) == (
        "`CellLoop` cannot be given lengths: it runs step by step, and only forward knows "
        "where that may end."
    )
