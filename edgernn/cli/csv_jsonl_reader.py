"""Read steps from lines of text: one step per row of a .csv, or per line of a .jsonl."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, required_axes
from edgernn.strict_json import parse_json
from edgernn.untrusted_text import quote

__all__ = ["csv_steps", "is_jsonl", "jsonl_steps"]

Step = tuple[bool, dict[str, NDArray[Any]]]


def is_jsonl(line: str, named: bool) -> bool:
    """Return whether a text that starts with `line` is .jsonl.

    Args:
        line: The first line.
        named: Whether the file has the suffix; it decides where the line is a bare number.
    """
    return line.lstrip().startswith(("[", "{")) or (named and not line.lstrip().startswith('"'))


def csv_steps(lines: Iterable[str], axes: Mapping[str, PortAxes], where: str) -> Iterator[Step]:
    """Read one step per row, columns = features; a first row of words is a header.

    Yields:
        False, as a row has no batch axis, and the step, (batch, features), by port.

    Raises:
        InputError: A row is not as many numbers as the model takes per step.
    """
    if len(required_axes(axes)) != 1:
        raise InputError(
            f"{where} is .csv, which holds one input; the model has {len(axes)}: "
            f"{', '.join(f'`{name}`' for name in axes)}. Give .npz or .jsonl."
        )
    ((name, axis),) = required_axes(axes).items()
    rows = csv.reader(lines)
    for row in _read_rows(rows, where):
        blank = not any(cell.strip() for cell in row)
        if (blank and len(row) < 2) or (rows.line_num == 1 and not blank and _is_header(row)):
            continue
        at = f"Line {rows.line_num} of {where}"
        values = np.array([_parse_number(cell, column, at) for column, cell in enumerate(row, 1)])
        yield False, {name: _to_step(axis, _shape_row(axis, values, at), at)[1]}


def _read_rows(rows: Any, where: str) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(
            f"Line {rows.line_num} of {where} cannot be read as .csv: {error}."
        ) from error


def jsonl_steps(lines: Iterable[str], axes: Mapping[str, PortAxes], where: str) -> Iterator[Step]:
    """Read one step per line: a number or array, or an object from port to number or array.

    A port without an axis of steps may be left out after the first line.

    Yields:
        Whether the values had a batch axis, and the step, (batch, features), by port.

    Raises:
        InputError: A line is not JSON, or not one step of the model.
    """
    last_constants: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        at = f"Line {number} of {where}"
        values = {**last_constants, **_values_by_port(_parse_line(line, at), axes, at)}
        if not required_axes(axes).keys() <= values.keys() <= axes.keys():
            came = ", ".join(map(quote, values)) or "no port"
            raise InputError(
                f"{at} has values for {came}; the model's inputs are "
                f"{', '.join(axes)}. Give an object with one value for each."
            )
        steps = {name: _to_step(axes[name], _array(values[name], at), at) for name in values}
        last_constants = {name: values[name] for name in values if axes[name].sequence is None}
        yield (
            all(batched for batched, _ in steps.values()),
            {name: array for name, (_, array) in steps.items()},
        )


def _parse_line(line: str, at: str) -> Any:
    try:
        return parse_json(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{at} is not JSON: {error.msg} at character {error.pos}.") from None
    except ValueError as error:
        raise InputError(f"{at} is not JSON: {error}.") from None


def _values_by_port(value: Any, axes: Mapping[str, PortAxes], at: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if len(required_axes(axes)) == 1:
        return {next(iter(required_axes(axes))): value}
    raise InputError(
        f"{at} is one value; the model has {len(axes)} inputs: {', '.join(axes)}. "
        "Give an object with one value for each."
    )


def _array(value: Any, at: str) -> NDArray[Any]:
    try:
        return np.array(value)
    except ValueError:
        raise InputError(f"{at} has rows of different lengths. Give a full array.") from None


def _is_header(row: list[str]) -> bool:
    return not any(map(_is_number, row))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse_number(cell: str, column: int, at: str) -> float:
    if not cell.strip():
        raise InputError(f"{at} has an empty cell in column {column}. Give a number in every cell.")
    try:
        number = float(cell)
    except ValueError:
        raise InputError(
            f"{at} has {quote(cell)} in column {column}, which is not a number."
        ) from None
    if not math.isfinite(number):
        raise InputError(
            f"{at} has {quote(cell)} in column {column}, and a recurrence never recovers from "
            "that. Give finite numbers."
        )
    return number


def _shape_row(axis: PortAxes, values: NDArray[Any], at: str) -> NDArray[Any]:
    """Return a row of features in the shape of one step."""
    shape = tuple(size if isinstance(size, int) else -1 for size in axis.features)
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) > 1:
        raise InputError(
            f"{at} is a row of numbers; `{axis.port}` has {shape.count(-1)} axes of any size in a "
            "step. Give .npy, .npz or .jsonl."
        )
    if values.size != known if -1 not in shape else not known or values.size % known:
        takes = f"a multiple of {known}" if -1 in shape else known
        raise InputError(f"{at} has {values.size} columns; `{axis.port}` takes {takes} per step.")
    return values.reshape(shape)


def _to_step(axis: PortAxes, values: NDArray[Any], at: str) -> tuple[bool, NDArray[Any]]:
    if values.ndim == 0 and all(size == 1 for size in axis.features):
        values = values.reshape((1,) * len(axis.features))
    step = axis.step
    values = step.cast(values, at)
    batched = step.is_batched(values, at)
    return batched, values if batched else step.with_batch(values)
