"""examples/bilstm: a large LSTM and its bidirectional twin, exported without their code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import edgernn as library
from edgernn.errors import UnsupportedModelError
from tests.examples.scripts import edgernn, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bilstm")
    printed = train("bilstm", path)
    losses = [float(number) for number in re.findall(r"0\.\d+", printed)]
    assert len(losses) == 4
    assert losses[1] < losses[0] / 2
    assert losses[3] < losses[2] / 2
    for name in ("lstm", "bilstm"):
        edgernn(path, "export", f"{name}.pt")
    return path


@pytest.mark.parametrize(
    ("name", "parameters", "output", "states"),
    [
        ("lstm", "1,314,816", (40, 25, 256), (2, 40, 256)),
        ("bilstm", "3,153,920", (40, 25, 512), (4, 40, 256)),
    ],
)
def test_parameters_and_shapes(
    folder: Path, name: str, parameters: str, output: tuple[int, ...], states: tuple[int, ...]
) -> None:
    """`inspect` prints torch's count of parameters; (40, 25, 512) goes in, torch's shapes out."""
    inspected = edgernn(folder, "inspect", f"{name}.edgernn")
    assert re.search(rf"^parameters +{parameters}$", inspected, re.MULTILINE)
    result = library.load(folder / f"{name}.edgernn").run({"x": np.zeros((40, 25, 512), "f")})
    assert result.outputs["output"].shape == output
    assert {key: array.shape for key, array in result.state.items()} == {"h": states, "c": states}


def test_bidirectional_twin_has_no_step(folder: Path) -> None:
    """The twin has a sequence graph only and says why; a stream of it is refused."""
    model = library.load(folder / "bilstm.edgernn")
    assert list(model.contract.graphs) == ["sequence"]
    assert model.contract.notes[-1] == (
        "There is no step graph: layer `lstm` is bidirectional: its backward direction starts from "
        "the last step of the sequence."
    )
    with pytest.raises(UnsupportedModelError):
        model.stream()
