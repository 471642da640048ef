"""The ports of models on text."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgernn
from edgernn.errors import InputError
from edgernn.runtime.generation.text_ports import TextPorts, encode_text
from edgernn.vocabulary import Vocabulary
from tests.nets import embedded_lstm, small_artifacts
from tests.runtime.generation.conftest import LETTERS


def test_ports() -> None:
    """The ids and scores of a model with one score per symbol."""
    ports = TextPorts.of(embedded_lstm.contract(vocabulary=LETTERS))
    assert ports.ids.port.name == "tokens"
    assert ports.scores.port.name == "output"
    assert ports.vocabulary is LETTERS


def test_no_vocabulary(tmp_path: Path) -> None:
    """A model without a vocabulary continues no text."""
    model = edgernn.load(small_artifacts.features(tmp_path / "features.edgernn"))
    with pytest.raises(InputError) as caught:
        edgernn.generate(model, "ab", 3)
    assert str(caught.value) == (
        "`RNN(2, 3)` has no vocabulary, so it cannot continue a text. Export it again with one: "
        "export_model(…, vocabulary=…)."
    )


def test_no_scores() -> None:
    """A model with another number of outputs than symbols continues no text."""
    five = Vocabulary(tuple("abcde"))
    with pytest.raises(InputError) as caught:
        TextPorts.of(embedded_lstm.contract(vocabulary=five))
    assert str(caught.value) == (
        "The model has no output with one score for each of its 5 symbols, so it cannot continue "
        "a text. Export one that returns its scores."
    )


def test_blank_text() -> None:
    """Text in words has at least one word."""
    words = Vocabulary(("what", "a", "fine", "day"))
    assert encode_text(words, " fine\n day ") == [2, 3]
    for text, kind in ((" ", "blank"), ("\t\n", "blank"), ("", "empty"), ("\r\n", "empty")):
        with pytest.raises(InputError) as caught:
            encode_text(words, text)
        assert str(caught.value) == f"The text is {kind}; at least one symbol is needed."
