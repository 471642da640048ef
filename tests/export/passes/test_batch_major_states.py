"""States with the batch axis in front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.errors import UnsupportedModelError
from tests.nets.tagger import KINDS, learned, ports, replayed, tagged


class Loop(nn.Module):
    """A cell in a loop over time: its state is (batch, size)."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[1], 6)
        rows = []
        for x_t in x:
            h = self.cell(x_t, h)
            rows.append(h)
        return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_graph_takes_and_gives_states_batch_first(kind: str, tmp_path: Path) -> None:
    """A state is (batch, layers, size) in and out, proven and recorded so."""
    artifact = tagged(kind, tmp_path, state_layout="batch-major")
    shape = ("batch", 4 if kind == "bidirectional" else 2, 6)
    for graph in artifact.contract.graphs.values():
        for state in artifact.contract.states:
            assert graph.input(state.input).shape == shape
            assert graph.output(state.output).shape == shape
    assert artifact.parity is not None
    assert artifact.parity.max_difference < 1e-5
    assert np.load(artifact.golden / "h_in.npy").shape == (2, *shape[1:])
    assert replayed(artifact).passed


def test_a_trained_initial_state_moves_with_its_axes(tmp_path: Path) -> None:
    """The stream starts from torch's own numbers, the batch in front."""
    artifact = learned(tmp_path, state_layout="batch-major")
    whole = learned(tmp_path / "torch")
    moved = edgernn.load(artifact.path).stream(batch=3).snapshot()["h"]
    start = edgernn.load(whole.path).stream(batch=3).snapshot()["h"]
    np.testing.assert_array_equal(moved, start.transpose(1, 0, 2))
    assert replayed(artifact).passed


def test_a_state_that_is_batch_first_already_stays(tmp_path: Path) -> None:
    """A cell's (batch, size) has nothing to exchange."""
    artifact = edgernn.export_model(
        Loop(),
        tmp_path / "m.edgernn",
        inputs=(torch.zeros(5, 2, 4),),
        state_layout="batch-major",
    )
    assert ports(artifact)[1] == "h_in: float32[batch, 6]"
    assert replayed(artifact).passed


def test_a_state_without_a_batch_axis_is_refused(tmp_path: Path) -> None:
    """There is nothing to put in front, and the message says so."""
    with pytest.raises(UnsupportedModelError) as caught:
        edgernn.export_model(
            nn.GRU(4, 6),
            tmp_path / "m.edgernn",
            inputs=["input:float32[sequence,4]"],
            state_layout="batch-major",
        )
    assert str(caught.value) == (
        "State `h_in` is [1, 1, 6]; a batch-major state needs a dynamic axis `batch` before or "
        'after the layers. Export it with state_layout="torch".'
    )
    assert list(tmp_path.iterdir()) == []
