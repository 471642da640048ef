"""`edgernn run`: what is refused, and that nothing is written then."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.cli import artifacts
from tests.cli.artifacts import expected
from tests.cli.conftest import Invoke
from tests.cli.runs import X, close, refused

USAGE = [
    (["--input", "a", "--text", "b"], "Give --input or --text, not both."),
    (["--generate", "3"], "--generate needs --text."),
    (["--text", "a", "--temperature", "1"], "--temperature needs --generate."),
    (["--text", "a", "--generate", "1", "--seed", "1"], "--seed needs --temperature."),
    (["--chunk", "3"], "--chunk needs --input or --text."),
    (["--state-in", "s"], "--state-in needs --input or --text."),
    (["--state-out", "s"], "--state-out needs --input or --text."),
    (["--output", "y.npy"], "--output needs --input or --text."),
    (["--input", "a", "--output", "y.txt"], "--output with .txt needs --text."),
    (
        ["--text", "a", "--generate", "1", "--output", "y.npy"],
        "--generate writes text: give --output a name with .txt.",
    ),
    (
        ["--input", "a", "--output", "y.wav"],
        "Invalid value for '--output': `y.wav` does not end in a format that is known: "
        ".npy, .npz, .csv, .jsonl, .txt.",
    ),
    (
        ["--input", "a", "--chunk", "0"],
        "Invalid value for '--chunk': 0 is not in the range x>=1.",
    ),
]


@pytest.mark.parametrize(("options", "message"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_usage(edgernn: Invoke, folder: Path, options: list[str], message: str) -> None:
    """Options that do not go together are a usage error, before anything is loaded."""
    refused(edgernn("run", *options), message, 2)


def test_no_vocabulary(edgernn: Invoke, features: Path) -> None:
    """A model without a vocabulary does not read text."""
    refused(
        edgernn("run", "--text", "hello"),
        "`RNN(2, 3)` has no vocabulary, so it cannot read text. Export it again with "
        "--vocabulary FILE, or give numbers with --input.",
    )


def test_empty_text(edgernn: Invoke, hello: Path) -> None:
    """Text has at least one symbol."""
    refused(
        edgernn("run", "--text", "-", stdin="\n"),
        "The text is empty; at least one symbol is needed.",
    )


def test_text_is_utf8(edgernn: Invoke, hello: Path) -> None:
    """Text on standard input is UTF-8."""
    refused(
        edgernn("run", "--text", "-", stdin=b"h\xff"),
        "Standard input is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 1: "
        "invalid start byte.",
    )


def test_no_carry(edgernn: Invoke, folder: Path) -> None:
    """A state that cannot be carried refuses chunks and answers a pipe as a whole."""
    artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",))
    np.save("x.npy", X)
    refused(
        edgernn("run", "--input", "x.npy", "--chunk", "3"),
        "`RNN(2, 3)` has a state that cannot be carried from chunk to chunk, which --chunk needs. "
        "Leave out --chunk and give the whole sequence at once.",
    )
    rows = "".join(f"{a},{b}\n" for a, b in X[0].tolist())
    result = edgernn("run", "--input", "-", stdin=rows)
    close(np.loadtxt(result.stdout.splitlines(), delimiter=","), expected(X[:1])[0][0])


def test_wrong_state(edgernn: Invoke, features: Path) -> None:
    """A state of another model is refused by name, and nothing is written."""
    np.save("x.npy", X)
    np.savez("s.npz", g=np.zeros(3))
    refused(
        edgernn("run", "--input", "x.npy", "--output", "y.npy", "--state-in", "s.npz"),
        "`g` is not a state of this model; its states are `h`.",
    )
    Path("t.npz").write_text("no archive")
    refused(
        edgernn("run", "--input", "x.npy", "--state-in", "t.npz"),
        "`t.npz` is not a state: expected a .npz file with one array per state, as --state-out "
        "writes it.",
    )
    refused(
        edgernn("run", "--input", "x.npy", "--state-in", "u.npz"),
        "State `u.npz` cannot be read: No such file or directory.",
    )
    assert not Path("y.npy").exists()


def test_no_place_to_write(edgernn: Invoke, features: Path) -> None:
    """A folder that does not exist is said in one line."""
    np.save("x.npy", X)
    refused(
        edgernn("run", "--input", "x.npy", "--output", "no/y.npy"),
        "`no/y.npy` cannot be written: No such file or directory.",
    )


def test_half_a_sequence(edgernn: Invoke, features: Path) -> None:
    """An error in the middle leaves no output file."""
    Path("x.csv").write_text("1,2\n1,nan\n1,x\n")
    refused(
        edgernn("run", "--input", "x.csv", "--chunk", "1", "--output", "y.csv"),
        "Line 3 of `x.csv` has `x` in column 2, which is not a number.",
    )
    assert sorted(os.listdir()) == ["features.edgernn", "x.csv"]
