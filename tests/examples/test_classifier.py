"""examples/classifier: a model of one step, lifted to sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import edgernn as library
from tests.examples.scripts import EXAMPLES, edgernn, script, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier")
    train("classifier", path)
    code = f"{EXAMPLES / 'classifier' / 'train.py'}:Classifier"
    edgernn(path, "export", "classifier.pt", "--module", code)
    return path


def test_both_graphs(folder: Path) -> None:
    """One step of torch gives a step graph and, lifted over time, a sequence graph."""
    contract = library.load(folder / "classifier.edgernn").contract
    ports = {
        kind: [str(port) for port in (*graph.inputs, *graph.outputs)]
        for kind, graph in contract.graphs.items()
    }
    assert ports == {
        "sequence": [
            "row: float32[batch, sequence, 768]",
            "h_in: float32[1, batch, 128]",
            "output: float32[batch, sequence, 2]",
            "h_out: float32[1, batch, 128]",
        ],
        "step": [
            "row: float32[batch, 768]",
            "h_in: float32[1, batch, 128]",
            "output: float32[batch, 2]",
            "h_out: float32[1, batch, 128]",
        ],
    }


def test_graphs_agree_with_eager_torch(folder: Path) -> None:
    """Six rows through either graph give what six calls of the trained forward give."""
    eager = script("classifier").Classifier()
    eager.load_state_dict(torch.load(folder / "classifier.pt", weights_only=True))
    rows = np.load(folder / "rows.npy")
    hidden, expected = torch.zeros(1, 1, 128), []
    with torch.no_grad():
        for row in torch.from_numpy(rows):
            scores, hidden = eager(row[None], hidden)
            expected.append(scores.numpy())
    model = library.load(folder / "classifier.edgernn")
    whole = model.run({"row": rows[None]})
    np.testing.assert_allclose(whole.outputs["output"], np.stack(expected, 1), atol=1e-5)
    np.testing.assert_allclose(whole.state["h"], hidden.numpy(), atol=1e-5)
    stream = model.stream()
    steps = [stream.step(row[None]) for row in rows]
    np.testing.assert_allclose(steps, expected, atol=1e-5)


def test_file_is_classified(folder: Path) -> None:
    """`edgernn run` on the rows of one sequence ends at the class that they are of."""
    edgernn(folder, "run", "classifier.edgernn", "--input", "rows.npy", "--output", "scores.npy")
    scores = np.load(folder / "scores.npy")
    assert scores.shape == (6, 2)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-6)
    assert scores[-1].argmax() == 0
