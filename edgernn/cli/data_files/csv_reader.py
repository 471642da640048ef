"""Read steps from the rows of a .csv file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.data_files.csv_columns import choose_columns, require_numbers
from edgernn.cli.data_files.csv_numbers import NumberReader
from edgernn.cli.data_files.csv_table import CsvTable, Row
from edgernn.cli.data_files.input_stream import line_of
from edgernn.cli.data_files.step_rows import StepRows
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, required_axes
from edgernn.untrusted_text import quote

__all__ = ["CsvReader"]

_BLOCK = 4096


class CsvReader:
    """The steps of a .csv file: one per row, columns = features.

    Attributes:
        names: The names of the columns that feed the model; None without a header.
        has_header: Whether the file has a header.
    """

    def __init__(
        self, lines: Iterable[str], axes: Mapping[str, PortAxes], where: str, columns: str | None
    ) -> None:
        """Read the header and the first step.

        Args:
            lines: The lines of the file.
            axes: The data inputs of the model.
            where: What messages call the file.
            columns: What `--columns` names; None for all columns.

        Raises:
            InputError: The file has no steps, or they do not fit the model.
        """
        if len(required_axes(axes)) != 1:
            raise InputError(
                f"{where} is .csv, which holds one input; the model has {len(axes)}: "
                f"{', '.join(f'`{name}`' for name in axes)}. Give .npz or .jsonl."
            )
        ((self._port, axis),) = required_axes(axes).items()
        self._layout = StepRows(axis)
        self._table = CsvTable(lines, where)
        self._rows = self._table.rows()
        first = next(self._rows, None)
        if first is None:
            self._check_closed_quotes()
            raise InputError(f"{where} holds no steps; at least one line of numbers is needed.")
        self._rows = itertools.chain([first], self._rows)
        self._chosen = self._choose(columns, first)
        self._numbers = NumberReader(self._table, self._chosen)
        names = self._table.names
        self.has_header = names is not None
        self.names = None if names is None else tuple(names[index] for index in self._chosen)

    def chunks(self, size: int | None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield chunks of at most `size` steps, in the port's full shape; None for one chunk.

        Raises:
            InputError: A row is not one step of the model.
        """
        while True:
            rows = itertools.islice(self._rows, size)
            parts = []
            while block := list(itertools.islice(rows, _BLOCK)):
                parts.append(self._to_array(block))
            if not parts:
                return
            yield {self._port: self._layout.axis.join_chunks(parts)}

    def _check_closed_quotes(self) -> None:
        """Check that no name in the header goes on over lines, as after a quote that is not closed.

        Raises:
            InputError: One does.
        """
        for name in self._table.names or ():
            if "\n" in name:
                raise InputError(
                    f"A name in the header of {self._table.where} goes on over several lines: "
                    f"{quote(name)}. Close its double quotes, or remove them."
                )

    def _choose(self, columns: str | None, first: Row) -> list[int]:
        """Return the indexes of the columns that feed the model."""
        layout, table, width = self._layout, self._table, len(first[1])
        if layout.shape.count(-1) > 1:
            raise InputError(
                f"{table.where} has rows of numbers; `{layout.axis.port}` has "
                f"{layout.shape.count(-1)} axes of any size in a step. Give .npy, .npz or .jsonl."
            )
        if columns is None:
            require_numbers(first, table, layout.fits, layout.takes)
            return list(range(width))
        chosen = choose_columns(columns, table.names, table.where, width)
        if not layout.fits(len(chosen)):
            count = "1 column" if len(chosen) == 1 else f"{len(chosen)} columns"
            raise InputError(f"--columns names {count}; {layout.takes} per step.")
        return chosen

    def _to_array(self, rows: list[Row]) -> NDArray[Any]:
        """Return rows as steps, in the port's full shape."""
        values = np.array([self._numbers.read(row) for row in rows])
        finite = np.isfinite(values)
        if not finite.all():
            at, place = np.argwhere(~finite)[0].tolist()
            raise self._numbers.not_finite(rows[at], place)
        try:
            return self._layout.to_chunk(values, "")
        except InputError:
            for (number, _), value in zip(rows, values, strict=True):
                self._layout.to_chunk(value[None], line_of(number, self._table.where))
            raise
