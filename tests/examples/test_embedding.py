"""examples/embedding: given word vectors before an LSTM, the initial states given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import edgernn as library
from tests.examples.scripts import edgernn, script, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedding")
    train("embedding", path)
    return path


def test_words_are_tagged_as_they_come(folder: Path) -> None:
    """Ids on standard input, one a line, are answered with scores that tell article, noun, verb."""
    answers = edgernn(folder, "run", "tagger.edgernn", "--input", "-", stdin="0\n2\n4\n")
    scores = np.array([line.split(",") for line in answers.splitlines()], float)
    assert scores.shape == (3, 3)
    assert scores.argmax(1).tolist() == [0, 1, 2]


def test_vectors_are_in_the_graph(folder: Path) -> None:
    """The given vectors stand in the sequence graph as they were given."""
    model = onnx.load(str(folder / "tagger.edgernn" / "sequence.onnx"))
    tables = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    vectors = script("embedding").VECTORS.numpy()
    assert any(np.array_equal(table, vectors) for table in tables)


def test_initial_states_are_ports(folder: Path) -> None:
    """The states that forward takes are ports of shape (1, batch, 3) and start at zero."""
    contract = library.load(folder / "tagger.edgernn").contract
    graph = contract.graphs["sequence"]
    assert [str(graph.input(state.input)) for state in contract.states] == [
        "h_in: float32[1, batch, 3]",
        "c_in: float32[1, batch, 3]",
    ]
    assert [graph.input(state.input).origin for state in contract.states] == [
        "state[0]",
        "state[1]",
    ]
    assert [state.initial for state in contract.states] == [None, None]
