"""Numbers with a decimal comma, and those that might be something else."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.cli.data_files.csv_numbers import NumberReader
from edgernn.cli.data_files.csv_table import CsvTable
from edgernn.errors import InputError
from tests.cli.conftest import Invoke
from tests.cli.runs import X, close
from tests.nets.small_artifacts import expected


def read(text: str) -> list[list[float]]:
    table = CsvTable(text.splitlines(keepends=True), "`x.csv`")
    rows = list(table.rows())
    reader = NumberReader(table, range(len(rows[0][1])))
    return [reader.read(row) for row in rows]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.5,1\n", [[0.5, 1]]),
        (" 0.5 ;\t1\n".replace("\t", " "), [[0.5, 1]]),
        ("0,5;1\n-1,25;2e-1\n", [[0.5, 1], [-1.25, 0.2]]),
        ("21,500;3\n", [[21.5, 3]]),
        ("0.5;1\n", [[0.5, 1]]),
        ("0,5\t21,500\n1,234\t2\n", [[0.5, 21.5], [1.234, 2]]),
        ("1;2\n3;4,5\n", [[1, 2], [3, 4.5]]),
    ],
)
def test_numbers(text: str, numbers: list[list[float]]) -> None:
    """A comma is a decimal sign where it does not separate columns."""
    assert read(text) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0,5;1\n0.5;1\n",
            "Line 2 of `x.csv` has `0.5`, but `,` is the decimal sign in the lines before it. Use "
            "one decimal sign, and none between thousands.",
        ),
        (
            "0.5;1\n1;0,5\n",
            "Line 2 of `x.csv` has `0,5`, but `.` is the decimal sign in the lines before it. Use "
            "one decimal sign, and none between thousands.",
        ),
        (
            "1\t21,500\n",
            "Line 1 of `x.csv` has `21,500`, which is 21.500 or 21500. Write points as decimal "
            "signs, and nothing between thousands.",
        ),
        (
            "1.234,5;2\n",
            "Line 1 of `x.csv` has `1.234,5` in column 1, which is not a number. Write "
            "points as decimal signs, and nothing between thousands.",
        ),
        (
            '"0,5",1\n',
            "Line 1 of `x.csv` has `0,5` in column 1, which is not a number. Write points as "
            "decimal signs, and nothing between thousands.",
        ),
        (
            "1; \n",
            "Line 1 of `x.csv` has an empty cell in column 2. Give a number in every cell.",
        ),
    ],
)
def test_refused(text: str, message: str) -> None:
    """A number that may be another one is refused with its line."""
    with pytest.raises(InputError) as caught:
        read(text)
    assert str(caught.value) == message


def test_decimal_comma_is_noted(edgernn: Invoke, features: Path) -> None:
    """An export with semicolons and decimal commas is read, and a note says how."""
    rows = "".join(f"{a};{b}\r\n".replace(".", ",") for a, b in X[0].tolist())
    Path("x.csv").write_text("\ufeffleft;right\r\n" + rows, "utf-8")
    result = edgernn("run", "--input", "x.csv", "--output", "y.npy")
    assert result.stderr.splitlines()[0] == "Line 2 of `x.csv`: `-1,0` is read as -1.0."
    close(np.load("y.npy"), expected(X[:1])[0][0])
    quiet = edgernn("run", "--input", "x.csv", "--output", "y.npy", "--force", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2), min_size=1, max_size=5
    ),
    st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")]),
)
def test_any_numbers_are_read_back(rows: list[list[float]], signs: tuple[str, str]) -> None:
    """Numbers read back the same with every delimiter and decimal sign, or are refused."""
    delimiter, sign = signs
    text = "".join(delimiter.join(map(repr, row)).replace(".", sign) + "\n" for row in rows)
    if signs == ("\t", ",") and re.search(r"(?<![\d,])[1-9]\d{0,2},\d{3}(?![\de])", text):
        with contextlib.suppress(InputError):  # may be thousands
            assert read(text) == rows
    else:
        assert read(text) == rows
