"""`edgernn run --columns`: names, numbers and ranges; and what is said where it is missing."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import X, close, refused
from tests.nets.small_artifacts import expected

LOG = "".join(f"{i},2024-05-01T10:00:0{i},{b},ok,{a}\n" for i, (a, b) in enumerate(X[0].tolist()))
NAMED = ",time,temp,status,humidity\n" + LOG


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ("humidity,temp", NAMED),
        (" humidity , temp ", NAMED),
        ("5,3", NAMED),
        ("humidity,3", NAMED),
        ("5,3", LOG),
        ('"Temp, °C",hum', 'hum,"Temp, °C"\n' + "".join(f"{b},{a}\n" for a, b in X[0].tolist())),
        ("2-3", "t,a,b\n" + "".join(f"x,{a},{b}\n" for a, b in X[0].tolist())),
    ],
)
def test_columns_are_chosen(edgernn: Invoke, features: Path, columns: str, text: str) -> None:
    """Names, numbers from 1 and ranges choose columns, in their order."""
    Path("x.csv").write_text(text)
    result = edgernn("run", "--input", "x.csv", "--columns", columns, "--output", "y.npy")
    assert result.exit_code == 0, result.output
    close(np.load("y.npy"), expected(X[:1])[0][0])


WRONG = {
    "unknown": (
        "tmp,humidity",
        NAMED,
        "`x.csv` has no column `tmp`; it has ``, `time`, `temp`, `status`, `humidity`. Give these "
        "names to --columns, or numbers from 1.",
    ),
    "no header": (
        "temp",
        LOG,
        "`x.csv` has no header, so it has no column `temp`. Give the numbers of columns to "
        "--columns, from 1, such as 2-4.",
    ),
    "outside": (
        "3-6",
        NAMED,
        "`3-6` in --columns is not among the columns of `x.csv`, which are 1 to 5.",
    ),
    "from 0": (
        "0,1",
        NAMED,
        "`0` in --columns is not among the columns of `x.csv`, which are 1 to 5.",
    ),
    "backwards": (
        "5-3",
        NAMED,
        "`5-3` in --columns is not among the columns of `x.csv`, which are 1 to 5.",
    ),
    "twice": (
        "temp,3",
        NAMED,
        "--columns names column 3 (`temp`) of `x.csv` twice. Name each column once.",
    ),
    "empty": ("", NAMED, "--columns is empty. Name at least one column."),
    "two lines": (
        "temp\nhumidity",
        NAMED,
        "`'temp\\nhumidity'` in --columns is not one line. Put commas between the columns.",
    ),
    "too many": (
        "3,5,1",
        NAMED,
        "--columns names 3 columns; `x: float32[batch, sequence, 2]` takes 2 per step.",
    ),
    "too few": (
        "3",
        NAMED,
        "--columns names 1 column; `x: float32[batch, sequence, 2]` takes 2 per step.",
    ),
    "same name": (
        "a,b",
        "a,b,a\n1,2,3\n",
        "`x.csv` has 2 columns named `a`: 1, 3. Give the number of the column to --columns.",
    ),
    "name or number": (
        "1,2",
        ",0,1\n0,5,6\n",
        "`1` in --columns is the name of column 3 of `x.csv`, and the number of another. Give the "
        "columns other names in the header.",
    ),
    "not a number": (
        "temp,status",
        NAMED,
        "Line 2 of `x.csv` has `ok` in column 4 (`status`), which is not a number.",
    ),
}


@pytest.mark.parametrize(("columns", "text", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_columns(
    edgernn: Invoke, features: Path, columns: str, text: str, message: str
) -> None:
    """A column that is unknown, ambiguous or no numbers is refused."""
    Path("x.csv").write_text(text)
    refused(edgernn("run", "--input", "x.csv", "--columns", columns), message)


ROWS = X[0].tolist()
REMEDIES = {
    "time": (
        "time,left,right\n" + "".join(f"2024-05-01,{a},{b}\n" for a, b in ROWS),
        "Line 2 of `x.csv` has `2024-05-01`, which is not a number, in column 1 (`time`). To read "
        "the columns of numbers: --columns left,right",
    ),
    "names with spaces": (
        "left (m),right (m),status\n" + "".join(f"{a},{b},ok\n" for a, b in ROWS),
        "Line 2 of `x.csv` has `ok`, which is not a number, in column 3 (`status`). To read the "
        'columns of numbers: --columns "left (m),right (m)"',
    ),
    "names that a shell changes": (
        "$left,right%,status\n" + "".join(f"{a},{b},ok\n" for a, b in ROWS),
        "Line 2 of `x.csv` has `ok`, which is not a number, in column 3 (`status`). To read the "
        "columns of numbers: --columns 1-2",
    ),
    "no header": (
        "".join(f"{a},10:00,{b}\n" for a, b in ROWS),
        "Line 1 of `x.csv` has `10:00`, which is not a number, in column 2. To read the columns "
        "of numbers: --columns 1,3",
    ),
    "index of pandas": (
        ",left,right\n" + "".join(f"{i},{a},{b}\n" for i, (a, b) in enumerate(ROWS)),
        "Line 2 of `x.csv` has 3 columns (``, `left`, `right`); `x: float32[batch, sequence, 2]` "
        "takes 2 per step. To leave out the column without a name: --columns left,right",
    ),
    "index and numbers of pandas": (
        ",0,1\n" + "".join(f"{i},{a},{b}\n" for i, (a, b) in enumerate(ROWS)),
        "Line 2 of `x.csv` has 3 columns (``, `0`, `1`); `x: float32[batch, sequence, 2]` "
        "takes 2 per step. To leave out the column without a name: --columns 2-3",
    ),
    "delimiters at the end": (
        "left;right;\n" + "".join(f"{a};{b};\n" for a, b in ROWS),
        "Line 2 of `x.csv` has no number, in column 3. To read the columns of "
        "numbers: --columns left,right",
    ),
}


@pytest.mark.parametrize(("text", "message"), REMEDIES.values(), ids=REMEDIES.keys())
def test_remedy_can_be_pasted(edgernn: Invoke, features: Path, text: str, message: str) -> None:
    """Where exactly as many columns are numbers as the model takes, the refusal names them."""
    Path("x.csv").write_text(text)
    refused(edgernn("run", "--input", "x.csv"), message)
    remedy = shlex.split(message.rpartition(": ")[2])
    assert edgernn("run", "--input", "x.csv", *remedy, "--output", "y.npy").exit_code == 0
    close(np.load("y.npy"), expected(X[:1])[0][0])


def test_decimal_commas(edgernn: Invoke, features: Path) -> None:
    """Twice as many columns may be decimal commas, which --columns would cut off."""
    Path("x.csv").write_text("0,5,1,5\n")
    refused(
        edgernn("run", "--input", "x.csv"),
        "Line 1 of `x.csv` has 4 columns; `x: float32[batch, sequence, 2]` takes 2 per step. If "
        "commas are decimal signs here, write points. Otherwise, choose 2 by name or number, "
        "such as the last: --columns 3-4",
    )


def test_spaces(edgernn: Invoke, features: Path) -> None:
    """Columns between spaces are refused with the remedy."""
    Path("x.csv").write_text("0.5 1.5\n")
    refused(
        edgernn("run", "--input", "x.csv"),
        "Line 1 of `x.csv` has spaces between its columns: `0.5 1.5`. Put commas, semicolons or "
        "tabs there.",
    )


def test_names_that_are_numbers(edgernn: Invoke, features: Path) -> None:
    """A first row that counts from 0 is data, and a note says so."""
    Path("x.csv").write_text("0,1\n0.5,0.25\n")
    result = edgernn("run", "--input", "x.csv")
    assert result.stderr == ("Line 1 of `x.csv` is read as the first step, not as names: `0,1`.\n")
    assert len(result.stdout.splitlines()) == 2


def test_output_is_an_input(edgernn: Invoke, features: Path) -> None:
    """The names above the outputs of one run choose the inputs of another."""
    Path("x.csv").write_text("".join(f"{a},{b}\n" for a, b in ROWS))
    assert edgernn("run", "--input", "x.csv", "--output", "y.csv").exit_code == 0
    assert Path("y.csv").read_text().splitlines()[0] == "output_0,output_1,output_2"
    columns = ("--columns", "output_2,output_0")
    assert edgernn("run", "--input", "y.csv", *columns, "--output", "z.npy").exit_code == 0
    y = expected(X[:1])[0]
    close(np.load("z.npy"), expected(y[..., [2, 0]])[0][0])
