"""Checks of inputs and states before they reach ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.axis_sizes import evaluate_shape, evaluate_size
from edgernn.contract import BATCH, SEQUENCE, Port
from edgernn.errors import InputError, StateError
from edgernn.ports import HOP
from edgernn.runtime.convert_arrays import as_array, convert_array

__all__ = ["InputCheck", "check_finite", "check_states", "format_steps"]

Arrays = dict[str, NDArray[Any]]

_AT_LEAST_ONE = {
    BATCH: "there must be at least one sequence",
    SEQUENCE: "there must be at least one step",
}


class InputCheck:
    """The check of one graph's data inputs.

    Attributes:
        ports: The inputs in the order in which they are given by position.
        graph: What to call the graph in messages: `step graph`.
        lengths: Names of the inputs that hold the lengths of sequences; left out, every sequence
            is as long as the array.
        constants: Sizes of the axes `batch` and `sequence` that are numbers.
        streams: Whether a stream of the model takes other numbers of steps.
        most: Name of a dynamic axis → the largest size that the graph takes.
        least: Name of a dynamic axis → the smallest, where it is more than 1.
        full_lengths: Those of `lengths` whose longest must be the number of steps.
    """

    def __init__(
        self,
        ports: Sequence[Port],
        graph: str,
        lengths: Collection[str] = (),
        constants: Mapping[str, int] | None = None,
        streams: bool = False,
        most: Mapping[str, int] | None = None,
        least: Mapping[str, int] | None = None,
        full_lengths: Collection[str] = (),
    ) -> None:
        self.ports = tuple(ports)
        self._with_expressions = tuple(port for port in self.ports if not _has_names_only(port))
        self._names = [port.name for port in self.ports]
        self.graph = graph
        self.lengths = lengths
        self.constants = constants or {}
        self.streams = streams
        self.most = most or {}
        self.least = least or {}
        self.full_lengths = full_lengths

    def check(
        self,
        inputs: Sequence[ArrayLike],
        named: Mapping[str, ArrayLike],
        batch: int | None = None,
    ) -> tuple[Arrays, dict[str, int]]:
        """Return the inputs as arrays of their ports' dtypes, and the sizes of their named axes.

        Integers become the port's integer dtype and floats its float dtype; nothing else is
        converted. The arrays are C-contiguous and may be the caller's own.

        Args:
            inputs: Data by position.
            named: Data by port name.
            batch: The number of sequences of the stream, or None for any.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes.
        """
        values = self._by_name(inputs, named)
        symbols = {**self.constants, **({} if batch is None else {BATCH: batch})}
        origins = {} if batch is None else {BATCH: "this stream"}
        arrays: Arrays = {}
        for port in self.ports:
            if port.name in values:
                array = as_array(port, values[port.name])
                if SEQUENCE in self.constants:
                    self._check_steps(port, array.shape)
                sizes = _check_shape(port, array.shape, symbols, origins)
                symbols |= sizes
                origins |= dict.fromkeys(sizes, f"`{port.name}`")
                if self.most or self.least:
                    self._check_bounds(port, array.shape)
                _check_limit(port, array)
                arrays[port.name] = convert_array(port, array)
        for port in self._with_expressions:
            if port.name in arrays:
                _check_shape(port, arrays[port.name].shape, symbols, origins)
        for port in self.ports if self.lengths else ():
            if port.name in self.lengths:
                arrays[port.name] = _check_lengths(port, arrays.get(port.name), symbols)
            if port.name in self.full_lengths:
                _check_longest(port, arrays[port.name], symbols[SEQUENCE])
        return arrays, symbols

    def _by_name(
        self, inputs: Sequence[ArrayLike], named: Mapping[str, ArrayLike]
    ) -> dict[str, ArrayLike]:
        names = self._names
        if len(inputs) == len(names) and not named:
            return dict(zip(names, inputs, strict=True))
        if len(inputs) > len(names):
            raise InputError(
                f"{len(inputs)} inputs came by position, but the {self.graph} takes "
                f"{len(names)}: {self._takes()}."
            )
        values = dict(zip(names, inputs, strict=False))
        for name, value in named.items():
            if name not in names:
                raise InputError(
                    f"`{name}` is not an input of the {self.graph}, which takes {self._takes()}."
                )
            if name in values:
                raise InputError(f"`{name}` came twice, by position and by name. Give it once.")
            values[name] = value
        for name in names:
            if name not in values and name not in self.lengths:
                raise InputError(f"`{name}` is missing: the {self.graph} takes {self._takes()}.")
        return values

    def _check_steps(self, port: Port, shape: tuple[int, ...]) -> None:
        """Check the number of steps where the graph takes a constant one."""
        axis, steps = port.axis(SEQUENCE), self.constants.get(SEQUENCE)
        if axis is None or steps is None or len(shape) != len(port.shape) or shape[axis] == steps:
            return
        stream = ", feed a stream (model.stream().feed)" if self.streams else ""
        raise InputError(
            f"`{port}` came with {format_steps(shape[axis])}; the {self.graph} takes exactly "
            f"{steps}. Give {format_steps(steps)}{stream}, or export the model without a constant "
            f"`{SEQUENCE}`."
        )

    def _check_bounds(self, port: Port, shape: tuple[int, ...]) -> None:
        """Check the sizes of dynamic axes against their bounds."""
        for axis, size in zip(port.axes, shape, strict=True):
            name = axis or ""
            most, least = self.most.get(name, size), self.least.get(name, size)
            if least <= size <= most:
                continue
            bound = f"at most {most}" if size > most else f"at least {least}"
            came = format_steps(size) if name == SEQUENCE else f"`{name}` {size}"
            feed = size > most and name == SEQUENCE and self.streams
            remedy = ", or feed a stream (model.stream().feed)" if feed else ""
            raise InputError(
                f"`{port}` came with {came}; the {self.graph} takes {bound}. "
                f"Give {'fewer' if size > most else 'more'}{remedy}."
            )

    def _takes(self) -> str:
        return ", ".join(f"`{port}`" for port in self.ports) or "no data inputs"


def check_states(states: Mapping[str, ArrayLike], ports: Mapping[str, Port], batch: int) -> Arrays:
    """Return states as arrays of their ports' dtypes and shapes, all finite.

    Args:
        states: Name of a state → its value.
        ports: Name of a state → its input port.
        batch: The number of sequences.

    Raises:
        StateError: A name, dtype, shape or value is not what the port takes.
    """
    known = ", ".join(f"`{name}`" for name in ports) or "none"
    for name in states:
        if name not in ports:
            raise StateError(f"`{name}` is not a state of this model; its states are {known}.")
    arrays: Arrays = {}
    for name, port in ports.items():
        if name not in states:
            raise StateError(f"State `{name}` is missing; give all states: {known}.")
        array = as_array(port, states[name], StateError)
        shape = evaluate_shape(port.shape, {BATCH: batch})
        if array.shape != shape:
            raise StateError(
                f"State `{name}` must have shape {shape} for batch {batch}, `{port}`; it came "
                f"with shape {array.shape}."
            )
        array = convert_array(port, array, StateError)
        check_finite(f"State `{name}`", array)
        arrays[name] = array
    return arrays


def check_finite(what: str, array: NDArray[Any]) -> None:
    """Check that the values of a part of a snapshot are finite.

    Args:
        what: The part, for the message.
        array: Its values.

    Raises:
        StateError: A value is NaN or infinite.
    """
    count = np.count_nonzero(~np.isfinite(array))
    if count:
        raise StateError(
            f"{what} has {count} values that are NaN or infinite; a recurrence never recovers from "
            "them. Restore a finite state, or reset."
        )


def _check_shape(
    port: Port, shape: tuple[int, ...], symbols: Mapping[str, int], origins: Mapping[str, str]
) -> dict[str, int]:
    """Check a shape against the port's.

    Args:
        port: The port.
        shape: The shape of its array.
        symbols: Name of a dynamic axis → its size, where known.
        origins: Name of a dynamic axis → what determines its size, for messages.

    Returns:
        Name of a dynamic axis that is not in `symbols` → its size here.
    """
    if len(shape) != len(port.shape):
        remedy = ""
        if BATCH in port.axes and len(shape) == len(port.shape) - 1:
            whole = ":, " * port.axes.index(BATCH)
            remedy = f" If the batch axis is missing, add it: {port.name}[{whole}None]."
        raise InputError(
            f"`{port}` came with shape {shape}: it must have {len(port.shape)} axes, not "
            f"{len(shape)}.{remedy}"
        )
    new: dict[str, int] = {}
    for axis, (size, expected) in enumerate(zip(shape, port.shape, strict=True)):
        if size == 0:
            reason = _AT_LEAST_ONE.get(str(port.axes[axis]), f"axis {axis} must not be empty")
            raise InputError(f"`{port}` came with shape {shape}: {reason}.")
        if size == expected:
            continue
        number = evaluate_size(expected, {**symbols, **new} if new else symbols)
        if number is None and not str(expected).isidentifier():
            continue  # an expression of axes of later inputs
        if number is None:
            new[str(expected)] = size
        elif port.axes[axis] == HOP and size != number:
            raise InputError(
                f"`{port}` came with {format_steps(size)}; a hop has {number}. Give {number}, or "
                "feed any number of steps: stream.feed(x)."
            )
        elif size != number:
            because = ""
            if isinstance(expected, str):
                origin = f"`{port.name}`" if expected in new else origins.get(expected)
                because = f", the `{expected}` of {origin or 'the other axes'}"
            raise InputError(
                f"`{port}` came with shape {shape}: axis {axis} must be {number}{because}, "
                f"not {size}."
            )
    return new


def _has_names_only(port: Port) -> bool:
    """Say whether every dynamic axis is a name, none an expression."""
    return all(isinstance(size, int) or size.isidentifier() for size in port.shape)


def _check_lengths(
    port: Port, given: NDArray[Any] | None, symbols: Mapping[str, int]
) -> NDArray[Any]:
    """Return the lengths of sequences, by default all steps, after checking their range."""
    steps = symbols[SEQUENCE]
    if given is None:
        shape = evaluate_shape(port.shape, symbols)
        assert shape is not None
        return np.full(shape, steps, port.dtype)
    wrong = (given < 1) | (given > steps)
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(
            f"`{port}` has length {given[place]} at {place}; sequences of this call have 1 to "
            f"{steps} steps."
        )
    return given


def _check_longest(port: Port, lengths: NDArray[Any], steps: int) -> None:
    longest = int(lengths.max())
    if longest < steps:
        raise InputError(
            f"`{port}` has {longest} as the longest length, but the sequences of this call have "
            f"{format_steps(steps)}, to which the model would pad. Give the first "
            f"{format_steps(longest)} only."
        )


def _check_limit(port: Port, array: NDArray[Any]) -> None:
    if port.limit is None:
        return
    outside = (array < 0) | (array >= port.limit)
    if outside.any():
        place = tuple(int(index) for index in np.argwhere(outside)[0])
        raise InputError(
            f"`{port}` has id {array[place]} at {place}; the model knows ids 0 to {port.limit - 1}."
        )


def format_steps(steps: int) -> str:
    """Return a number of steps in words: `1 step`, `2 steps`."""
    return "1 step" if steps == 1 else f"{steps} steps"
