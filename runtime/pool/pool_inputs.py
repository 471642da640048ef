"""What a pool takes and returns: one row for each stream, along the batch axis of every port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.runtime.check_inputs import InputCheck
from edgernn.runtime.convert_arrays import as_array
from edgernn.runtime.port_axes import output_axes
from edgernn.runtime.stream_inputs import check_carry, chunk_check, step_check

__all__ = [
    "Arrays",
    "PoolInputs",
    "batch_axis",
    "check_pool",
    "step_inputs",
    "step_outputs",
    "without_batch",
]

Arrays = dict[str, NDArray[Any]]


def check_pool(contract: Contract) -> None:
    """Check that streams of a model can be stepped as one batch.

    Raises:
        UnsupportedModelError: They cannot.
    """
    check_carry(contract)
    ports = (
        *contract.state_ports.values(),
        *step_check(contract).ports,
        *step_outputs(contract).values(),
    )
    least = contract.least.get(BATCH, 1)
    reason = "" if least == 1 else f"it takes at least {least} sequences at once"
    for port in ports:
        if BATCH not in port.shape:
            size = contract.constants.get(BATCH)
            reason = (
                f"`{port}` has no axis `{BATCH}`, so that all streams would share it"
                if size is None
                else f"it was exported for a batch of {size} only (`{port}`)"
            )
            break
    if reason:
        raise UnsupportedModelError(
            f"`{contract.source}` cannot run in a pool, which steps many streams as one batch: "
            f"{reason}. Run each sequence by itself, model.stream(), or export the model with a "
            f"dynamic `{BATCH}` of any size."
        )


def step_outputs(contract: Contract) -> dict[str, Port]:
    """Return the data outputs of a step, without a step graph those of the sequence graph."""
    if contract.step is not None:
        return {port.name: port for port in contract.data_outputs("step")}
    return {
        name: axes.step.port if contract.steps_per_hop(name) == 1 else axes.port
        for name, axes in output_axes(contract).items()
    }


def step_inputs(contract: Contract) -> dict[str, Port]:
    """Return the data inputs of a step, without a step graph those of the sequence graph."""
    return {port.name: port for port in step_check(contract).ports}


def batch_axis(port: Port) -> int:
    """Return the batch axis of a port that has one."""
    return port.shape.index(BATCH)


def without_batch(port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of one sequence without the batch axis, where the port has one."""
    axis = port.axis(BATCH)
    return array if axis is None else array.squeeze(axis)


class PoolInputs:
    """The checks of the inputs of a step and of chunks.

    Attributes:
        ports: The data inputs of a step by name.
    """

    def __init__(self, contract: Contract) -> None:
        self._step = step_check(contract)
        self._chunk = chunk_check(contract)
        most = {axis: size for axis, size in self._step.most.items() if axis != BATCH}
        self._rows = InputCheck(self._step.ports, "step graph", most=most, least=self._step.least)
        self.ports = {port.name: port for port in self._step.ports}

    def rows(self, given: object, count: int) -> Arrays:
        """Return the arrays of a step that have one row for each stream.

        Args:
            given: The array of the only input, or name of an input → its array.
            count: The number of streams.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes.
        """
        named = self._named(given)
        for name, port in self.ports.items():
            if name in named:
                named[name] = array = as_array(port, named[name])
                rows = array.shape[batch_axis(port)] if array.ndim == len(port.shape) else count
                if rows != count:
                    raise InputError(
                        f"`{port}` came with {rows} row{'s'[: rows != 1]} for {count} "
                        f"stream{'s'[: count != 1]}. Give one row for each stream, in the order of "
                        "the streams."
                    )
        return self._rows.check((), named, count)[0]

    def stacked(self, values: Sequence[object], places: Sequence[int]) -> Arrays:
        """Return the arrays of a step from what was given for each stream.

        Args:
            values: For each stream, the array of the only input, or name of an input → its array;
                without the batch axis.
            places: The rows of the streams in the pool, for messages.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes.
        """
        if len(self.ports) == 1:
            (port,) = self.ports.values()
            fast = _stack(values, port)
            if fast is not None:
                try:
                    return self._rows.check((fast,), {}, len(values))[0]
                except InputError:
                    pass  # the check of each one says which
        each = [
            self._one(self._step, value, place)[0]
            for value, place in zip(values, places, strict=True)
        ]
        joined = {}
        for name, port in self.ports.items():
            arrays = [one[name] for one in each]
            _check_alike(port, arrays, places)
            joined[name] = np.concatenate(arrays, batch_axis(port))
        return joined

    def chunk(self, value: object, place: int) -> tuple[Arrays, int]:
        """Return the arrays of the chunk of one stream, for a batch of 1, and its number of steps.

        Raises:
            InputError: A name, dtype, shape or id is not what the port takes.
        """
        arrays, symbols = self._one(self._chunk, value, place)
        return arrays, symbols.get(SEQUENCE, 1)

    def steady(self, values: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
        """Return inputs of one stream with the batch axis, where they are inputs."""
        ports = {port.name: port for port in self._chunk.ports}
        return {
            name: _with_batch(ports[name], value) if name in ports else value
            for name, value in values.items()
        }

    def _one(self, check: InputCheck, value: object, place: int) -> tuple[Arrays, dict[str, int]]:
        try:
            named = self._named(value)
            for port in check.ports:
                if port.name in named:
                    named[port.name] = _with_batch(port, named[port.name])
            return check.check((), named, 1)
        except InputError as error:
            raise InputError(f"`pool.streams[{place}]`: {error}") from error

    def _named(self, given: object) -> dict[str, Any]:
        if isinstance(given, Mapping):
            return dict(given)
        names = list(self.ports)
        if len(names) != 1:
            takes = ", ".join(f"`{port}`" for port in self.ports.values()) or "no data inputs"
            raise InputError(
                f"One value came without a name, but the model takes {takes}. Give each by name: "
                f"{{name: value}}."
            )
        return {names[0]: given}


def _with_batch(port: Port, value: ArrayLike) -> NDArray[Any]:
    array, axis = as_array(port, value), port.axis(BATCH)
    if axis is None:
        return array
    alone = port.without_axis(axis)
    if len(alone.shape) != array.ndim or any(
        isinstance(size, int) and size != given
        for size, given in zip(alone.shape, array.shape, strict=True)
    ):
        raise InputError(
            f"`{port.name}` came with shape {array.shape} for one stream, which takes `{alone}`. "
            f"Give that shape, without the axis `{BATCH}`."
        )
    return np.expand_dims(array, axis)


def _check_alike(port: Port, arrays: Sequence[NDArray[Any]], places: Sequence[int]) -> None:
    """Check that arrays of one sequence each have one shape.

    Raises:
        InputError: Two have different ones, along an axis that is dynamic besides the batch.
    """
    for array, place in zip(arrays, places, strict=True):
        if array.shape != arrays[0].shape:
            first, other = (without_batch(port, one).shape for one in (arrays[0], array))
            raise InputError(
                f"`pool.streams[{place}]`: `{port.name}` came with shape {other}, and with {first} "
                f"for `pool.streams[{places[0]}]`. A step runs all streams as one batch: give one "
                "shape, or step these streams in another call."
            )


def _stack(values: Sequence[Any], port: Port) -> NDArray[Any] | None:
    """Return arrays of one shape and dtype joined along the batch axis; None for others."""
    kinds = {(type(value), getattr(value, "dtype", None), np.shape(value)) for value in values}
    if len(kinds) != 1:
        return None
    ((kind, _, shape),) = kinds
    if kind is not np.ndarray or len(shape) != len(port.shape) - 1:
        return None
    joined = np.concatenate(values) if shape else np.array(values)
    return np.moveaxis(joined.reshape(len(values), *shape), 0, batch_axis(port))
