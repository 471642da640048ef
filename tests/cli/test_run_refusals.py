"""`edgernn run`: what is refused, and that nothing is written then."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import X, close, refused
from tests.nets import small_artifacts
from tests.nets.small_artifacts import expected


def test_no_vocabulary(edgernn: Invoke, features: Path) -> None:
    """A model without a vocabulary does not read text."""
    refused(
        edgernn("run", "--text", "hello"),
        "`features.edgernn` has no vocabulary, so it cannot read text. Export it again with "
        "--vocabulary FILE, or give numbers with --input.",
    )


@pytest.mark.parametrize("text", ["", "\n", "\r\n"])
def test_empty_text(edgernn: Invoke, hello: Path, text: str) -> None:
    """Text has at least one symbol."""
    refused(
        edgernn("run", "--text", "-", stdin=text),
        "The text is empty; at least one symbol is needed.",
    )


def test_text_is_utf8(edgernn: Invoke, hello: Path) -> None:
    """Text on standard input is UTF-8."""
    refused(
        edgernn("run", "--text", "-", stdin=b"h\xff"),
        "Standard input is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 1: "
        "invalid start byte.",
    )


def test_a_line_of_standard_input(edgernn: Invoke, features: Path) -> None:
    """Standard input is named inside of a sentence, too."""
    refused(
        edgernn("run", "--input", "-", stdin="1,2,3\n"),
        "Line 1 of standard input has 3 columns; `x: float32[batch, sequence, 2]` takes 2 per "
        "step. Choose 2 by name or number, such as the last: --columns 2-3",
    )


def test_a_file_without_its_option(edgernn: Invoke, features: Path) -> None:
    """A file or text after the artifact gets the options that take it."""
    refused(
        edgernn("run", str(features), "x.csv"),
        "`x.csv` is one argument too many. Give a file with --input, a text with --text.",
        code=2,
    )


def test_no_carry(edgernn: Invoke, folder: Path) -> None:
    """A state that cannot be carried refuses chunks and answers a pipe as a whole."""
    small_artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",))
    np.save("x.npy", X)
    refused(
        edgernn("run", "--input", "x.npy", "--chunk", "3"),
        "`both.edgernn` has a state that cannot be carried from chunk to chunk, which --chunk "
        "needs. Leave out --chunk and give the whole sequence at once.",
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
        "writes it, but File is not a zip file.",
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


NOT_FINITE = {
    "nan": ("x.csv", "1,2\n1,nan\n", "Line 2 of `x.csv` has `nan` in column 2, and a recurrence "
            "never recovers from that. Give finite numbers."),
    "inf": ("x.csv", "1,2\n-inf,2\n", "Line 2 of `x.csv` has `-inf` in column 1, and a recurrence "
            "never recovers from that. Give finite numbers."),
    "blank": ("x.csv", "a,b\n1,2\n\n1, \n", "Line 4 of `x.csv` has an empty cell in column "
              "2 (`b`). Give a number in every cell."),
    "first": ("x.csv", ",\n1,2\n", "Line 1 of `x.csv` has an empty cell in column 1. "
              "Give a number in every cell."),
    "word": ("x.csv", "1,2\n1,x\n", "Line 2 of `x.csv` has `x` in column 2, which is not a "
             "number."),
    "large": ("x.csv", "1,2\n1,1e39\n", "Line 2 of `x.csv` holds 1e+39 for "
              "`x: float32[batch, 2]`, which is above 3.4e+38, the largest float32."),
    "json": ("x.jsonl", "[1,2]\n[1,NaN]\n", "Line 2 of `x.jsonl` is not JSON: it holds NaN, "
             "which JSON does not have."),
    "null": ("x.jsonl", "[1,2]\n[1,null]\n", "Line 2 of `x.jsonl` holds something that is not a "
             "number for `x: float32[batch, 2]`; it must hold numbers."),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), NOT_FINITE.values(), ids=NOT_FINITE.keys())
def test_half_a_sequence(
    edgernn: Invoke, features: Path, name: str, text: str, message: str
) -> None:
    """A cell that is no finite number is named by row, and neither output nor state is written."""
    Path(name).write_text(text)
    targets = ("--output", "y.csv", "--state-out", "s.npz")
    refused(edgernn("run", "--input", name, "--chunk", "1", *targets), message)
    assert sorted(os.listdir()) == ["features.edgernn", name]


def test_arrays_are_finite(edgernn: Invoke, features: Path) -> None:
    """An array with NaN is refused with its place, in the chunk that has it."""
    x = X.copy()
    x[1, 7, 0] = np.nan
    np.save("x.npy", x)
    for chunk, at in (("9", ""), ("3", ", from step 6 on,")):
        place = (1, 7, 0) if chunk == "9" else (1, 1, 0)
        refused(
            edgernn("run", "--input", "x.npy", "--chunk", chunk, "--state-out", "s.npz"),
            f"`x.npy`{at} holds nan at {place} for `x: float32[batch, sequence, 2]`; a recurrence "
            "never recovers from it. Give finite numbers.",
        )
    assert not Path("s.npz").exists()


def test_a_state_that_is_not_finite_is_not_written(edgernn: Invoke, pair: Path) -> None:
    """A state that finite numbers drove to infinity does not replace the one before."""
    np.savez("s.npz", s=np.ones((1, 1), np.float32))
    Path("x.jsonl").write_text('{"a": 1e30, "b": 1e30}\n')
    run = ("run", "--input", "x.jsonl", "--output", "y.jsonl")
    refused(
        edgernn(*run, "--state-in", "s.npz", "--state-out", "s.npz"),
        "State `s` has values that are NaN or infinite after this run, so `s.npz` was not written. "
        "Look for them in the outputs.",
    )
    with np.load("s.npz") as archive:
        np.testing.assert_array_equal(archive["s"], [[1]])
