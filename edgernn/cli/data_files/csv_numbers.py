"""The numbers in the cells of a .csv file, with a point or a comma as decimal sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgernn.cli.data_files.csv_columns import format_column
from edgernn.cli.data_files.csv_table import CsvTable, Row, is_number
from edgernn.cli.data_files.input_stream import line_of
from edgernn.cli.terminal_notes import note
from edgernn.errors import InputError
from edgernn.untrusted_text import quote

__all__ = ["NumberReader"]

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_REMEDY = "Write points as decimal signs, and nothing between thousands."


class NumberReader:
    """Converts cells to numbers.

    Where commas separate the columns, the decimal sign is a point. Otherwise it is the one that
    comes first in the file, and the other one is refused from there on. Where tabs separate the
    columns, a first number such as `21,500` is refused, as the comma may separate thousands.
    """

    def __init__(self, table: CsvTable, chosen: Sequence[int]) -> None:
        self._table = table
        self._chosen = list(chosen)
        self._all = self._chosen == list(range(len(self._chosen)))
        self._decimal = "." if table.delimiter == "," else ""

    def read(self, row: Row) -> list[float]:
        """Return the numbers in the chosen columns of a row.

        Raises:
            InputError: A cell is not a number, or its decimal sign is not that of the file.
        """
        cells = row[1]
        if not self._all or len(cells) != len(self._chosen):
            cells = [cells[index] for index in self._chosen]
        if self._table.delimiter != ",":
            cells = self._with_points(row, cells)
        try:
            return list(map(float, cells))
        except ValueError:
            raise self._not_a_number(row) from None

    def not_finite(self, row: Row, place: int) -> InputError:
        """Return the error for a row whose number at `place` among the chosen is not finite."""
        index = self._chosen[place]
        return InputError(
            f"{self._at(row)} has {quote(row[1][index])} in column {self._column(index)}, and a "
            "recurrence never recovers from that. Give finite numbers."
        )

    def _with_points(self, row: Row, cells: list[str]) -> list[str]:
        """Return cells with points as decimal signs."""
        for cell in cells:
            sign = "," if "," in cell else "." if "." in cell else ""
            if sign == self._decimal or not sign or not is_number(cell, self._table.delimiter):
                continue
            if self._decimal:
                raise InputError(
                    f"{self._at(row)} has {quote(cell)}, but `{self._decimal}` is the decimal sign "
                    "in the lines before it. Use one decimal sign, and none between thousands."
                )
            self._decide(sign, cell, row, cells)
        return [cell.replace(",", ".") for cell in cells] if self._decimal == "," else cells

    def _decide(self, sign: str, cell: str, row: Row, cells: list[str]) -> None:
        """Take `sign`, as in `cell`, for the decimal sign of the file."""
        if sign == ",":
            if self._table.delimiter == "\t" and all(
                _THOUSANDS.fullmatch(other.strip()) for other in cells if "," in other
            ):
                number = cell.strip()
                raise InputError(
                    f"{self._at(row)} has {quote(number)}, which is {number.replace(',', '.', 1)} "
                    f"or {number.replace(',', '')}. {_REMEDY}"
                )
            note(
                f"{self._at(row)}: {quote(cell.strip())} is read as "
                f"{float(cell.replace(',', '.'))}."
            )
        self._decimal = sign

    def _not_a_number(self, row: Row) -> InputError:
        for index in self._chosen:
            cell = row[1][index]
            if not cell.strip():
                return InputError(
                    f"{self._at(row)} has an empty cell in column {self._column(index)}. Give a "
                    "number in every cell."
                )
            if not is_number(cell, self._table.delimiter):
                comma = f" {_REMEDY}" if "," in cell else ""
                return InputError(
                    f"{self._at(row)} has {quote(cell)} in column {self._column(index)}, which is "
                    f"not a number.{comma}"
                )
        raise AssertionError(row)

    def _column(self, index: int) -> str:
        return format_column(index, self._table.names)

    def _at(self, row: Row) -> str:
        return line_of(row[0], self._table.where)
