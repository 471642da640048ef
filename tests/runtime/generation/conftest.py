"""The model whose text the tests read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edgernn
from edgernn.runtime import Model
from edgernn.vocabulary import Vocabulary
from tests.nets import embedded_lstm

LETTERS = Vocabulary(("a", "b", "c", "d"))
WORDS = Vocabulary(("one", "two", "three", "end"))


def write(path: Path, vocabulary: Vocabulary = LETTERS, **changes: Any) -> Model:
    """Write the embedded LSTM with a vocabulary, whose scores are its outputs, and load it."""
    whole = embedded_lstm.contract(vocabulary=vocabulary, **changes)
    graphs = {
        kind: replace(graph, inputs=(replace(graph.inputs[0], limit=4), *graph.inputs[1:]))
        for kind, graph in whole.graphs.items()
    }
    contract = replace(whole, graphs=graphs)
    return edgernn.load(embedded_lstm.write_lstm(path / "text.edgernn", contract))


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model with one letter per symbol."""
    return write(tmp_path_factory.mktemp("letters"))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model with one word per symbol."""
    return write(tmp_path_factory.mktemp("words"), WORDS)


@pytest.fixture(scope="session")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model with a constant batch of 1."""
    return write(tmp_path_factory.mktemp("single"), batch=1)
