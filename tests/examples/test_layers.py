"""examples/layers: a bare LSTM and GRU, exported with the API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgernn
from tests.examples.scripts import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers")
    train("layers", path)
    return path


@pytest.mark.parametrize(("kind", "states"), [("lstm", ["h", "c"]), ("gru", ["h"])])
def test_shapes_are_torchs(folder: Path, kind: str, states: list[str]) -> None:
    """Input (3, 5, 10), time-major, gives output (3, 5, 20) and states (2, 5, 20)."""
    model = edgernn.load(folder / f"{kind}.edgernn")
    x = np.random.default_rng(0).standard_normal((3, 5, 10), np.float32)
    zeros = np.zeros((2, 5, 20), np.float32)
    (name,) = [port.name for port in model.contract.data_inputs("sequence")]
    result = model.run({name: x}, dict.fromkeys(states, zeros))
    assert {name: array.shape for name, array in result.outputs.items()} == {"output": (3, 5, 20)}
    assert {name: array.shape for name, array in result.state.items()} == dict.fromkeys(
        states, (2, 5, 20)
    )


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_layer_has_learned_the_mean(folder: Path, kind: str) -> None:
    """The exported layer answers with the mean of what it has read, better than with the last."""
    model = edgernn.load(folder / f"{kind}.edgernn")
    x = np.random.default_rng(1).standard_normal((5, 200, 10), np.float32)
    output = model(x)
    assert isinstance(output, np.ndarray)
    mean = x.cumsum(0) / np.arange(1, 6).reshape(-1, 1, 1)
    error = float(((output[..., :10] - mean) ** 2).mean())
    assert error < 0.5 * float((mean**2).mean())
