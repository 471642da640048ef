"""`edgernn run`: text read with the vocabulary, and text written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.cli.conftest import Invoke


def test_text(edgernn: Invoke, hello: Path) -> None:
    """Text gives the symbol with the best score at every step."""
    assert edgernn("run", "hello.edgernn", "--text", "hello").stdout == "ohlol\n"
    assert edgernn("run", "--text", "-", stdin="hello\n").stdout == "ohlol\n"
    assert edgernn("run", "--text", "hello", "--chunk", "2").stdout == "ohlol\n"
    assert edgernn("run", "--text", "hello", "--output", "y.txt").stdout == ""
    assert Path("y.txt").read_text() == "ohlol\n"


def test_text_to_scores(edgernn: Invoke, hello: Path) -> None:
    """The scores behind the text go to a file of numbers."""
    assert edgernn("run", "--text", "hello", "--output", "y.npy").exit_code == 0
    scores = np.load("y.npy")
    assert scores.shape == (5, 4)
    assert "".join("helo"[i] for i in scores.argmax(1)) == "ohlol"


def test_generate(edgernn: Invoke, hello: Path) -> None:
    """The model goes on from the text with its own best symbols."""
    assert edgernn("run", "--text", "hel", "--generate", "6").stdout == "lollol\n"


def test_generate_goes_on(edgernn: Invoke, hello: Path) -> None:
    """The state that is written has seen all that was printed."""
    edgernn("run", "--text", "hel", "--generate", "2", "--state-out", "s.npz")
    result = edgernn("run", "--text", "l", "--state-in", "s.npz")
    assert result.stdout == edgernn("run", "--text", "hellol").stdout[-2:]


def test_temperature(edgernn: Invoke, hello: Path) -> None:
    """Chance is repeatable with a seed, and a low temperature is the best symbol."""

    def drawn(*options: str) -> str:
        return edgernn("run", "--text", "h", "--generate", "20", *options).stdout

    hot = drawn("--temperature", "9", "--seed", "1")
    assert hot == drawn("--temperature", "9", "--seed", "1")
    assert hot != drawn("--temperature", "9", "--seed", "2")
    assert drawn("--temperature", "0.01", "--seed", "1") == drawn()
    assert set(hot) <= set("helo\n")
    assert len(hot) == 21
