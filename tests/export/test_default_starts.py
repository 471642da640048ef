"""The rules for what graphs start from where forward may be called without its state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.artifact import Artifact


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class LearnedStart(nn.Module):
    """Starts from parameters where it is called without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)
        self.h, self.c = (nn.Parameter(torch.randn(1, 1, 4)) for _ in "hc")

    def forward(self, x, hx=None):
        if hx is None:
            hx = tuple(one.expand(1, len(x), 4).contiguous() for one in (self.h, self.c))
        return self.rnn(x, hx)


class StartFromData(nn.Module):
    """Starts from the first step of its data where it is called without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x, hx=None):
        return self.rnn(x, x[:, 0].unsqueeze(0).contiguous() if hx is None else hx)


class RequiredState(nn.Module):
    """Cannot be called without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x, hx):
        return self.rnn(x, hx)


def difference(model: nn.Module, artifact: Artifact) -> float:
    """Return how far the artifact is from the model, both called without a state."""
    x = torch.randn(2, 6, int(artifact.contract.data_inputs("sequence")[0].shape[-1]))
    with torch.no_grad():
        expected = model(x)[0].numpy()
    return float(np.abs(edgernn.load(artifact.path)(x.numpy()) - expected).max())


@pytest.mark.parametrize("inputs", [None, ["x:float32[batch,sequence,3]"]])
def test_a_learned_start_is_the_initial_value(tmp_path: Path, inputs: list[str] | None) -> None:
    """Whether the example has the state or not, the artifact starts as the model does."""
    model = LearnedStart().eval()
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", inputs=inputs)
    h, c = (state.initial for state in artifact.contract.states)
    np.testing.assert_array_equal(h, model.h.detach().numpy())
    np.testing.assert_array_equal(c, model.c.detach().numpy())
    assert difference(model, artifact) < 1e-5


def test_zeros_are_no_value_to_record(tmp_path: Path) -> None:
    """Torch's layers start from zeros where they get no state, as hosts do."""
    model = nn.GRU(3, 4, batch_first=True).eval()
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn")
    assert [state.initial for state in artifact.contract.states] == [None]
    assert artifact.contract.notes == ()
    assert difference(model, artifact) < 1e-5


def test_a_start_from_data_is_told(tmp_path: Path) -> None:
    """No value can be recorded that is another one for other data; a note says so."""
    example = (torch.randn(2, 5, 4), torch.zeros(1, 2, 4))
    artifact = edgernn.export_model(StartFromData().eval(), tmp_path / "m.edgernn", inputs=example)
    assert [state.initial for state in artifact.contract.states] == [None]
    assert artifact.contract.notes == (
        "`hx` starts the graphs from zeros where a host gives none; forward computes another "
        "value, which is not the same for all data.",
    )


def test_a_required_state_starts_from_zeros(tmp_path: Path) -> None:
    """A forward that needs its state says nothing of where it starts."""
    artifact = edgernn.export_model(RequiredState().eval(), tmp_path / "m.edgernn")
    assert [state.initial for state in artifact.contract.states] == [None]
    assert artifact.contract.notes == ()
