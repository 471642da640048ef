"""Read steps from the rows of a .csv file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.data_files.csv_columns import choose_columns, require_numbers
from edgernn.cli.data_files.csv_numbers import NumberReader
from edgernn.cli.data_files.csv_table import CsvTable, Row
from edgernn.cli.data_files.input_stream import line_of
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
        ((self._port, self._axis),) = required_axes(axes).items()
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
            yield {self._port: self._axis.join_chunks(parts)}

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
        axis, table, width = self._axis, self._table, len(first[1])
        shape = _row_shape(axis)
        if shape.count(-1) > 1:
            raise InputError(
                f"{table.where} has rows of numbers; `{axis.port}` has {shape.count(-1)} axes of "
                "any size in a step. Give .npy, .npz or .jsonl."
            )
        known = math.prod(size for size in shape if size != -1)
        takes = f"`{axis.port}` takes {f'a multiple of {known}' if -1 in shape else known}"

        def fits(count: int) -> bool:
            return known > 0 and count > 0 and count % known == 0 if -1 in shape else count == known

        if columns is None:
            require_numbers(first, table, fits, takes)
            return list(range(width))
        chosen = choose_columns(columns, table, width)
        if not fits(len(chosen)):
            count = "1 column" if len(chosen) == 1 else f"{len(chosen)} columns"
            raise InputError(f"--columns names {count}; {takes} per step.")
        return chosen

    def _to_array(self, rows: list[Row]) -> NDArray[Any]:
        """Return rows as steps, in the port's full shape."""
        step = self._axis.step
        values = np.array([self._numbers.read(row) for row in rows])
        finite = np.isfinite(values)
        if not finite.all():
            at, place = np.argwhere(~finite)[0].tolist()
            raise self._numbers.not_finite(rows[at], place)
        values = values.reshape(len(rows), *_row_shape(self._axis))
        try:
            steps = step.cast(values, "")
        except InputError:
            for (number, _), value in zip(rows, values, strict=True):
                step.cast(value, line_of(number, self._table.where))
            raise
        if step.batch is not None:
            steps = np.expand_dims(steps, step.batch + 1)
        return (
            steps[-1] if self._axis.sequence is None else np.moveaxis(steps, 0, self._axis.sequence)
        )


def _row_shape(axis: PortAxes) -> tuple[int, ...]:
    """Return the shape of one step of one sequence; -1 for an axis of any size."""
    return tuple(size if isinstance(size, int) else -1 for size in axis.features)
