"""Which columns of a .csv file feed the model."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence

from edgernn.cli.data_files.csv_table import CsvTable, Row, is_number
from edgernn.cli.data_files.input_stream import line_of
from edgernn.errors import InputError
from edgernn.untrusted_text import quote

__all__ = ["choose_columns", "format_column", "require_numbers"]

_NUMBER = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)-(\d+)")
_PLAIN = re.compile(r"[^\W\d]\w*")
_QUOTABLE = re.compile(r"[^\W\d][\w °²³().:/\[\]-]*")
_MOST_NAMED = 8
_SHOWN = 20

Fits = Callable[[int], bool]
"""Whether a model takes that many columns."""


def choose_columns(given: str, names: Sequence[str] | None, where: str, width: int) -> list[int]:
    """Return the indexes of the columns that `--columns` names, in its order.

    Args:
        given: Names in the header, numbers from 1 and ranges such as `2-7`, separated by commas; a
            name that holds a comma stands in double quotes.
        names: The names of the columns; None where the file has none.
        where: What messages call the file.
        width: The number of its columns.

    Raises:
        InputError: A column is unknown, ambiguous, or named twice.
    """
    chosen: list[int] = []
    try:
        items = next(csv.reader([given], skipinitialspace=True), [])
    except csv.Error as error:
        raise InputError(
            f"{quote(given)} in --columns is not one line. Put commas between the columns."
        ) from error
    for item in items:
        for index in _find_columns(item.strip(), names, where, width):
            if index in chosen:
                raise InputError(
                    f"--columns names column {format_column(index, names)} of {where} "
                    "twice. Name each column once."
                )
            chosen.append(index)
    if not chosen:
        raise InputError("--columns is empty. Name at least one column.")
    return chosen


def _find_columns(item: str, names: Sequence[str] | None, where: str, width: int) -> Sequence[int]:
    places = [index for index, name in enumerate(names or ()) if name == item and item]
    if len(places) > 1:
        numbers = ", ".join(str(index + 1) for index in places)
        raise InputError(
            f"{where} has {len(places)} columns named {quote(item)}: {numbers}. Give the "
            "number of the column to --columns."
        )
    if places:
        if _NUMBER.fullmatch(item) and places != [int(item) - 1]:
            raise InputError(
                f"{quote(item)} in --columns is the name of column {places[0] + 1} of "
                f"{where}, and the number of another. Give the columns other names in the "
                "header."
            )
        return places
    first, last = item, item
    if found := _RANGE.fullmatch(item):
        first, last = found.groups()
    if not _NUMBER.fullmatch(first):
        raise _unknown(item, names, where)
    if not 1 <= int(first) <= int(last) <= width:
        raise InputError(
            f"{quote(item)} in --columns is not among the columns of {where}, which are 1 "
            f"to {width}."
        )
    return range(int(first) - 1, int(last))


def _unknown(item: str, names: Sequence[str] | None, where: str) -> InputError:
    if names is None:
        return InputError(
            f"{where} has no header, so it has no column {quote(item)}. Give the numbers of "
            "columns to --columns, from 1, such as 2-4."
        )
    return InputError(
        f"{where} has no column {quote(item)}; it has {_known(names)}. Give these "
        "names to --columns, or numbers from 1."
    )


def _known(names: Sequence[str]) -> str:
    shown = ", ".join(quote(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def require_numbers(row: Row, table: CsvTable, fits: Fits, takes: str) -> None:
    """Check that all columns of a row can feed the model, which is so without `--columns`.

    Args:
        row: The first row of data.
        table: Its file.
        fits: Whether the model takes a number of columns.
        takes: What the model takes, for messages.

    Raises:
        InputError: They cannot; where others can, it has the option that chooses them.
    """
    number, cells = row
    numeric = [index for index, cell in enumerate(cells) if is_number(cell, table.delimiter)]
    if (
        len(cells) == 1
        and len(words := cells[0].split()) > 1
        and all(is_number(word, ",") for word in words)
    ):
        raise InputError(
            f"{line_of(number, table.where)} has spaces between its columns: {quote(cells[0])}. "
            "Put commas, semicolons or tabs there."
        )
    odd = next((index for index in range(len(cells)) if index not in numeric), None)
    if odd is not None and numeric and fits(len(numeric)):
        cell = cells[odd].strip()
        what = f"{quote(cell)}, which is not a number" if cell else "no number"
        raise InputError(
            f"{line_of(number, table.where)} has {what}, in column "
            f"{format_column(odd, table.names)}. To read the columns of numbers: "
            f"{_option(numeric, table.names)}"
        )
    if fits(len(cells)):
        return
    count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
    named = "" if table.names is None else f" ({_known(table.names)})"
    message = f"{line_of(number, table.where)} has {count}{named}; {takes} per step."
    index_column = table.names is not None and not table.names[0]
    if index_column and fits(len(cells) - 1):
        option = _option(range(1, len(cells)), table.names)
        raise InputError(f"{message} To leave out the column without a name: {option}")
    fewer = next((size for size in range(len(cells) - 1, 0, -1) if fits(size)), None)
    if fewer is None:
        raise InputError(f"{message} Give as many.")
    if table.delimiter == "," and len(cells) % 2 == 0 and fits(len(cells) // 2):
        message += " If commas are decimal signs here, write points. Otherwise, choose"
    else:
        message += " Choose"
    last = _option(range(len(cells) - fewer, len(cells)), table.names)
    raise InputError(f"{message} {fewer} by name or number, such as the last: {last}")


def _option(indexes: Sequence[int], names: Sequence[str] | None) -> str:
    """Return `--columns …` as it is written in a shell."""
    if names is not None and len(indexes) <= _MOST_NAMED:
        chosen = [names[index] for index in indexes]
        if all(_QUOTABLE.fullmatch(name) and names.count(name) == 1 for name in chosen):
            text = ",".join(chosen)
            mark = "" if all(map(_PLAIN.fullmatch, chosen)) else '"'
            return f"--columns {mark}{text}{mark}"
    ranges: list[list[int]] = []
    for index in indexes:
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    parts = (str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in ranges)
    return f"--columns {','.join(parts)}"


def format_column(index: int, names: Sequence[str] | None) -> str:
    """Return a column as messages name it: its number, and its name in the header."""
    name = names[index] if names is not None else ""
    return f"{index + 1} ({quote(name)})" if name else str(index + 1)
