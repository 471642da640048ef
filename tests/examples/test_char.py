"""examples/char: a character model that goes on writing a text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import Once
from tests.examples.scripts import EXAMPLES, edgernn, script, train_once

PROMPT = "The License"
LENGTH = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Path:
    """The trained model and its artifact."""
    path = tmp_path_factory.mktemp("char")
    train_once("char", path, once)
    code = f"{EXAMPLES / 'char' / 'train.py'}:Char"
    edgernn(path, "export", "char.pt", "--module", code, "--vocabulary", "char.json")
    return path


def written_by_torch(weights: Path) -> str:
    """Return how the trained model goes on in eager torch, the best character each time."""
    code = script("char")
    model = code.Char()
    model.load_state_dict(torch.load(weights, weights_only=True))
    ids, state, text = [code.SYMBOLS.index(character) for character in PROMPT], None, ""
    with torch.no_grad():
        for _ in range(LENGTH):
            scores, state = model(torch.tensor([ids]), state)
            ids = [int(scores[0, -1].argmax())]
            text += code.SYMBOLS[ids[0]]
    return text


def test_text_is_eager_torchs(folder: Path) -> None:
    """`run --generate` writes, character by character, what eager torch would write."""
    text = edgernn(
        folder, "run", "char.edgernn", "--text", PROMPT, "--generate", str(LENGTH)
    ).removesuffix("\n")
    assert len(text) == LENGTH
    assert text == written_by_torch(folder / "char.pt")


def test_picture_of_the_readme(folder: Path) -> None:
    """docs/images/char.svg is what `inspect --graph` draws of this model."""
    edgernn(folder, "inspect", "char.edgernn", "--graph", "char.svg")
    shown = EXAMPLES.parent / "docs" / "images" / "char.svg"
    assert (folder / "char.svg").read_text("utf-8") == shown.read_text("utf-8")


def test_text_reads_like_its_source(folder: Path) -> None:
    """After 40 readings, eight in ten of the words that it writes are words of the text."""
    text = edgernn(folder, "run", "char.edgernn", "--text", PROMPT, "--generate", str(LENGTH))
    words = text.split()[1:-1]
    known = set(script("char").TEXT.split())
    assert len(words) > LENGTH // 12
    assert sum(word in known for word in words) >= 0.8 * len(words)
