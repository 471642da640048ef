"""The rows of a .csv file, by its delimiter, and the names in its header."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator

from edgernn.cli.data_files.csv_delimiter import (
    DELIMITER_NAMES,
    is_decimal_comma,
    possible_delimiters,
)
from edgernn.cli.data_files.input_stream import line_of
from edgernn.cli.terminal_notes import note
from edgernn.errors import InputError
from edgernn.untrusted_text import quote

__all__ = ["CsvTable", "Row", "is_number"]

_LIKE_A_VALUE = re.compile(r"\d+[-/.:]\d|[+-]?[.,]?\d[^A-Za-z]*$")
_MAX_ROW = 65536

Row = tuple[int, list[str]]
"""The number of a row's last line, and its cells."""


class CsvTable:
    """The rows of a .csv file, each with as many cells as the first.

    The first row shows what separates the columns. Where it does not, as with the names
    `Temp, °C;Humidity`, the second one does. A first row without any number is a header; so is one
    that leaves the first name out and counts the others from 0, as pandas writes it.

    Attributes:
        where: What messages call the file.
        delimiter: `,`, `;` or a tab.
        names: The names in the header, without white space around them; None without a header.
    """

    def __init__(self, lines: Iterable[str], where: str) -> None:
        """Read the first row, and the second where that decides.

        Raises:
            InputError: The rows do not show what separates the columns.
        """
        self.where = where
        self._lines = iter(lines)
        self._last_line = ""
        head = self._read_row()
        possible = possible_delimiters("".join(head))
        if len(possible) != 1:
            second = self._read_row()
            possible = possible_delimiters("".join(second))
            if len(possible) != 1 or not second:
                raise self._ambiguous("".join(second or head))
            head += second
        (self.delimiter,) = possible
        self._reader = csv.reader(
            itertools.chain(head, self._remaining_lines()),
            delimiter=self.delimiter,
            skipinitialspace=True,
        )
        self._first = next(self._all_rows(), None)
        self.names: tuple[str, ...] | None = None
        if self._first is not None and _is_header(self._first[1], self.delimiter):
            self.names = tuple(cell.strip() for cell in self._first[1])

    def rows(self) -> Iterator[Row]:
        """Yield the rows of data.

        Raises:
            InputError: A row has not as many cells as the first, or the second row shows that the
                first was not read rightly.
        """
        if self._first is None:
            return
        if self.names is None:
            self._note_first_step(self._first)
            yield self._first
        rows = self._all_rows()
        for row in itertools.islice(rows, 1):
            self._check_width(row)
            self._check_second(row)
            yield row
        for row in rows:
            self._check_width(row)
            yield row

    def _read_row(self) -> list[str]:
        """Return the lines of a row, and the blank ones before it."""
        lines: list[str] = []
        for line in self._remaining_lines():
            lines.append(line)
            text = "".join(lines)
            if text.strip() and (text.count('"') % 2 == 0 or len(text) > _MAX_ROW):
                break
        return lines

    def _remaining_lines(self) -> Iterator[str]:
        for line in self._lines:
            self._last_line = line
            yield line

    def _all_rows(self) -> Iterator[Row]:
        """Read the rows, without blank lines and without empty cells at the end of the file."""
        reader = self._reader
        empty: list[Row] = []
        try:
            for cells in reader:
                if any(cells) and any(cell.strip() for cell in cells):
                    yield from empty
                    empty.clear()
                    yield reader.line_num, cells
                elif len(cells) > 1 and not empty:
                    empty.append((reader.line_num, cells))
        except csv.Error as error:
            raise InputError(
                f"{line_of(reader.line_num, self.where)} cannot be read as .csv: {error}."
            ) from error

    def _check_width(self, row: Row) -> None:
        number, cells = row
        if self._first is None or len(cells) == len(self._first[1]):
            return
        comma = self.delimiter == "," and "," in self._last_line
        raise InputError(
            f"{line_of(number, self.where)} has {_columns(len(cells))}, but line {self._first[0]} "
            f"has {len(self._first[1])}: {quote(self._last_line.strip())}. Give every row the same "
            f"columns{'; decimal signs must be points where commas separate them' * comma}."
        )

    def _check_second(self, row: Row) -> None:
        """Check the first row against the second."""
        assert self._first is not None
        number, cells = row
        possible = possible_delimiters(self._last_line)
        if self.names is not None and len(possible) == 1 and possible != [self.delimiter]:
            raise InputError(
                f"{line_of(self._first[0], self.where)} has its columns separated by "
                f"{DELIMITER_NAMES[self.delimiter]}, but line {number} by "
                f"{DELIMITER_NAMES[possible[0]]}: {quote(self._last_line.strip())}. Use one of "
                "them in the whole file."
            )
        if self.names is None:
            for column, (above, below) in enumerate(zip(self._first[1], cells, strict=True), 1):
                is_index = column == 1 and not above.strip()
                if (is_index or self._is_name(above)) and self._is_value(below):
                    raise InputError(
                        f"{line_of(self._first[0], self.where)} is neither names nor data: in "
                        f"column {column} it has {quote(above)}, where line {number} has "
                        f"{quote(below)}. Give names that are not numbers, or remove that line."
                    )

    def _note_first_step(self, row: Row) -> None:
        """Note that a first row is data, where it might be names that are numbers."""
        number, cells = row
        counted = len(cells) > 1 and [cell.strip() for cell in cells] == _counted(len(cells))
        if counted or any(map(self._is_name, cells)):
            note(
                f"{line_of(number, self.where)} is read as the first step, not as names: "
                f"{quote(self.delimiter.join(cells))}."
            )

    def _is_name(self, cell: str) -> bool:
        return any(map(str.isalpha, cell)) and not self._is_value(cell)

    def _is_value(self, cell: str) -> bool:
        return _is_value(cell.strip(), self.delimiter)

    def _ambiguous(self, text: str) -> InputError:
        names = " or ".join(name for mark, name in DELIMITER_NAMES.items() if mark in text)
        return InputError(
            f"{self.where} can be read in more than one way: the columns of {quote(text.strip())} "
            f"may be separated by {names}. Put cells that hold one of them in double quotes."
        )


def is_number(cell: str, delimiter: str) -> bool:
    """Return whether a cell is a number; a comma may be its decimal sign if it separates nothing.

    Args:
        cell: The text of the cell.
        delimiter: What separates the columns.
    """
    if delimiter != "," and is_decimal_comma(cell):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(cells: list[str], delimiter: str) -> bool:
    cells = [cell.strip() for cell in cells]
    if len(cells) > 1 and cells == ["", *_counted(len(cells) - 1)]:
        return True
    return any(cells) and not any(_is_value(cell, delimiter) for cell in cells)


def _is_value(cell: str, delimiter: str) -> bool:
    """Return whether a cell is data: a number, or a date, time or other digits that are none."""
    return is_number(cell, delimiter) or _LIKE_A_VALUE.match(cell) is not None


def _counted(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
