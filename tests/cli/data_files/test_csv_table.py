"""The rows of a .csv file, its header, and files that could be read in more than one way."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.cli.data_files.csv_table import CsvTable
from edgernn.errors import InputError


def table(text: str) -> CsvTable:
    return CsvTable(io.StringIO(text), "`x.csv`")


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("", None, []),
        ("\n\n", None, []),
        ("a,b\n", ("a", "b"), []),
        ("1,2\n", None, [(1, ["1", "2"])]),
        ("a, b \n\n1,2\n\n", ("a", "b"), [(3, ["1", "2"])]),
        ("\na,b\r\n1,2\r\n", ("a", "b"), [(3, ["1", "2"])]),
        ('"Temp\n(°C)","hum"\n1,2\n', ("Temp\n(°C)", "hum"), [(3, ["1", "2"])]),
        ("Temp, °C;Humidity\n1,5;2\n", ("Temp, °C", "Humidity"), [(2, ["1,5", "2"])]),
        (",0,1\n0,5,6\n", ("", "0", "1"), [(2, ["0", "5", "6"])]),
        (",temp\n0,5\n", ("", "temp"), [(2, ["0", "5"])]),
        ('B2,"5,18"\nA1,6\n', None, [(1, ["B2", "5,18"]), (2, ["A1", "6"])]),
        ("10:00;45 %\n", None, [(1, ["10:00", "45 %"])]),
        ("2024-01-01,\n", None, [(1, ["2024-01-01", ""])]),
        ("nan;2\n1;2\n", None, [(1, ["nan", "2"]), (2, ["1", "2"])]),
        ("ok;2\nok;3\n", None, [(1, ["ok", "2"]), (2, ["ok", "3"])]),
        ("a;b\n1;2\n;\n;\n", ("a", "b"), [(2, ["1", "2"])]),
        ("a;b\n1;2\n;\n3;4\n", ("a", "b"), [(2, ["1", "2"]), (3, ["", ""]), (4, ["3", "4"])]),
    ],
)
def test_rows(text: str, names: tuple[str, ...] | None, rows: list[tuple[int, list[str]]]) -> None:
    """Blank lines, and empty cells at the end, are passed over; a header is names."""
    read = table(text)
    assert (read.names, list(read.rows())) == (names, rows)


REFUSED = {
    "no line decides": (
        "Temp, °C;Humidity\n1,5\t2;0\n",
        "`x.csv` can be read in more than one way: the columns of `'1,5\\t2;0'` may be separated "
        "by `,` or `;` or tabs. Put cells that hold one of them in double quotes.",
    ),
    "only one line": (
        "Temp, °C;Humidity\n",
        "`x.csv` can be read in more than one way: the columns of `Temp, °C;Humidity` may be "
        "separated by `,` or `;`. Put cells that hold one of them in double quotes.",
    ),
    "two delimiters": (
        "time,temp\n10:00;0,5\n",
        "Line 1 of `x.csv` has its columns separated by `,`, but line 2 by `;`: `10:00;0,5`. Use "
        "one of them in the whole file.",
    ),
    "one column with decimal commas": (
        "temp\n0,5\n",
        "Line 2 of `x.csv` has 2 columns, but line 1 has 1: `0,5`. Give every row the same "
        "columns; decimal signs must be points where commas separate them.",
    ),
    "a short row": (
        "1;2\n3\n",
        "Line 2 of `x.csv` has 1 column, but line 1 has 2: `3`. Give every row the same columns.",
    ),
    "years as names": (
        "time,2019,2020\n10:00,1,2\n",
        "Line 1 of `x.csv` is neither names nor data: in column 1 it has `time`, where line 2 has "
        "`10:00`. Give names that are not numbers, or remove that line.",
    ),
    "years as names of pandas": (
        ",2019,2020\n0,1,2\n",
        "Line 1 of `x.csv` is neither names nor data: in column 1 it has ``, where line 2 has `0`. "
        "Give names that are not numbers, or remove that line.",
    ),
    "an open quote": (
        '1,"2\n' + "3" * 140_000,
        "Line 2 of `x.csv` cannot be read as .csv: field larger than field limit (131072).",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, message: str) -> None:
    """What may be read in more than one way is refused with the line."""
    with pytest.raises(InputError) as caught:
        list(table(text).rows())
    assert str(caught.value) == message


LINES = ["a,b\n", "1,2\n", "3,4\n", "5,6\n"]


def test_rows_are_read_one_by_one() -> None:
    """A row is returned before the line after it is read."""
    read: list[str] = []

    def lines() -> Iterator[str]:
        for line in LINES:
            read.append(line)
            yield line

    rows = CsvTable(lines(), "`x.csv`").rows()
    for count in (2, 3, 4):
        next(rows)
        assert read == LINES[:count]


NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32).map(str)


@given(
    st.sampled_from(",;\t"),
    st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(
                st.from_regex(r"[A-Za-z][^\r\n\x00]{0,6}", fullmatch=True),
                min_size=width,
                max_size=width,
            ),
            st.lists(st.lists(NUMBER, min_size=width, max_size=width), min_size=1, max_size=4),
        )
    ),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_table_is_read_back(
    delimiter: str,
    content: tuple[list[str], list[list[str]]],
    header: bool,
    end: str,
    quoted: bool,
) -> None:
    """A table reads back the same from every delimiter, or is refused."""
    names, rows = content
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=1 if quoted else 0)
    writer.writerows([names, *rows] if header else rows)
    refusable = header and set("".join(names)) & set(",;\t")
    with contextlib.suppress(InputError) if refusable else contextlib.nullcontext():
        read = table(file.getvalue())
        assert [cells for _, cells in read.rows()] == rows
        assert read.names == (tuple(name.strip() for name in names) if header else None)
