"""Read steps from the lines of a .jsonl file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.data_files.input_stream import line_of
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, required_axes
from edgernn.strict_json import parse_json
from edgernn.untrusted_text import quote

__all__ = ["is_jsonl", "jsonl_steps"]

Step = tuple[bool, dict[str, NDArray[Any]]]


def is_jsonl(line: str, named: bool) -> bool:
    """Return whether a text that starts with `line` is .jsonl.

    Args:
        line: The first line.
        named: Whether the file has the suffix; it decides where the line is a bare number.
    """
    return line.lstrip().startswith(("[", "{")) or (named and not line.lstrip().startswith('"'))


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
        at = line_of(number, where)
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


def _to_step(axis: PortAxes, values: NDArray[Any], at: str) -> tuple[bool, NDArray[Any]]:
    if values.ndim == 0 and all(size == 1 for size in axis.features):
        values = values.reshape((1,) * len(axis.features))
    step = axis.step
    values = step.cast(values, at)
    batched = step.is_batched(values, at)
    return batched, values if batched else step.with_batch(values)
