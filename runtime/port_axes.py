"""Which axes of a port's arrays are the steps and the batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract, Port
from edgernn.errors import InputError
from edgernn.join_chunks import BATCH_OUTER, SEQUENCE_OUTER, join_chunks
from edgernn.streaming_rules import over_chunks, steps_axis, steps_per_hop

__all__ = ["PortAxes", "input_axes", "output_axes", "required_axes"]

_FLATTENED = (BATCH_OUTER, SEQUENCE_OUTER)
_NOT_NUMBERS = {
    "U": "text",
    "S": "text",
    "O": "something that is not a number",
    "c": "complex numbers",
}


@dataclass(frozen=True)
class PortAxes:
    """The axes of one data port over whole sequences.

    Attributes:
        port: The port, its shape that of the sequence graph.
        sequence: The index of the axis of steps, or None where the port has none.
        batch: The index of the batch axis, dynamic or of size 1; None where there is none.
        step_rank: The number of axes of the same port of the step graph.
        optional: Whether the input may be left out: lengths, which are then the number of steps.
    """

    port: Port
    sequence: int | None
    batch: int | None
    step_rank: int
    optional: bool = False

    @classmethod
    def of(cls, port: Port, step_rank: int | None = None, hop: int | None = None) -> PortAxes:
        """Find the axes of `port`.

        Args:
            port: The port; an axis that counts steps and sequences is that of steps.
            step_rank: The number of axes of the same port of the step graph, if there is one.
            hop: The hop of a model that has several or fewer steps of an output for each step of
                the input; None for a model that has as many.
        """
        sequence = port.axis(SEQUENCE)
        for symbol in _FLATTENED:
            sequence = port.axis(symbol) if sequence is None else sequence
        in_step = 1 if hop is None else steps_per_hop(port, hop)
        if hop is not None:
            sequence = steps_axis(port)
        if step_rank is None:
            step_rank = len(port.shape) - (sequence is not None and in_step == 1)
        return cls(port, sequence, batch=_batch_axis(port), step_rank=step_rank)

    @cached_property
    def flattened(self) -> bool:
        """Whether one axis counts steps and sequences together."""
        name = None if self.sequence is None else self.port.axes[self.sequence]
        return BATCH in re.findall(r"\w+", name or "")

    @cached_property
    def step(self) -> PortAxes:
        """The axes of one step: the same without the axis of steps."""
        axis = self.sequence
        if axis is None:
            return self
        port = self.port.without_axis(axis)
        batch = self.batch
        if batch is not None and batch > axis:
            batch -= 1
        return PortAxes(port, sequence=None, batch=batch, step_rank=len(port.shape))

    def with_steps(self) -> PortAxes:
        """Return the same with an axis of steps, after the batch where that comes first."""
        if self.sequence is not None:
            return self
        index = 1 if self.batch == 0 else 0
        shape, axes = list(self.port.shape), list(self.port.axes)
        shape.insert(index, SEQUENCE)
        axes.insert(index, SEQUENCE)
        port = replace(self.port, shape=tuple(shape), axis_names=None).with_axes(axes)
        batch = None if self.batch is None else self.batch + (index <= self.batch)
        return replace(self, port=port, sequence=index, batch=batch)

    @cached_property
    def features(self) -> tuple[int | str, ...]:
        """The shape of one step of one sequence."""
        around = (self.sequence, self.batch)
        return tuple(size for axis, size in enumerate(self.port.shape) if axis not in around)

    def cast(self, array: NDArray[Any], where: str) -> NDArray[Any]:
        """Return `array` in the port's dtype: floats rounded and finite, others unchanged.

        Args:
            array: Numbers of any dtype.
            where: What holds them, for messages.

        Raises:
            InputError: The values are not numbers, not finite, or the port's dtype cannot hold
                them.
        """
        dtype = np.dtype(self.port.dtype)
        if array.dtype == dtype and dtype.kind != "f":
            return array
        if array.dtype.kind not in "biuf":
            raise InputError(
                f"{where} holds {_NOT_NUMBERS.get(array.dtype.kind, str(array.dtype))} for "
                f"`{self.port}`; it must hold numbers."
            )
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                real = array.astype(dtype, copy=False)
            self._check_finite(real, array, where)
            return real
        with np.errstate(invalid="ignore"):
            exact = array.astype(dtype)
        if not np.array_equal(exact, array):
            odd = array[exact != array].flat[0]
            raise InputError(
                f"{where} holds {odd} for `{self.port}`, which takes {dtype} only. "
                "Give values of that type."
            )
        return exact

    def _check_finite(self, real: NDArray[Any], given: NDArray[Any], where: str) -> None:
        finite = np.isfinite(real)
        if finite.all():
            return
        place = tuple(int(index) for index in np.argwhere(~finite)[0])
        value = given[place]
        if np.isfinite(value):
            raise InputError(
                f"{where} holds {value} for `{self.port}`, which is above "
                f"{np.finfo(real.dtype).max:.3g}, the largest {real.dtype}."
            )
        at = f" at {place}" if given.size > 1 else ""
        raise InputError(
            f"{where} holds {value}{at} for `{self.port}`; a recurrence never recovers from it. "
            "Give finite numbers."
        )

    def is_batched(self, array: NDArray[Any], where: str) -> bool:
        """Say whether `array` has the port's batch axis, which may be left out.

        Raises:
            InputError: It has neither the port's number of axes nor one less.
        """
        rank = len(self.port.shape)
        if array.ndim == rank:
            return True
        if self.batch is not None and array.ndim == rank - 1:
            return False
        without = "" if self.batch is None else f" (or {rank - 1}, without the batch axis)"
        raise InputError(
            f"{where} has shape {array.shape}; `{self.port}` takes {rank} axes{without}. "
            "Reshape the array."
        )

    def with_batch(self, array: NDArray[Any]) -> NDArray[Any]:
        """Add the batch axis, of size 1, where the port has one."""
        return array if self.batch is None else np.expand_dims(array, self.batch)

    def without_batch(self, array: NDArray[Any]) -> NDArray[Any]:
        """Remove the batch axis if its size is 1."""
        if self.batch is None or array.shape[self.batch] != 1:
            return array
        return array.squeeze(self.batch)

    def slice_steps(self, array: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Return the steps from `start` to `stop`; without a sequence axis, all of `array`."""
        if self.sequence is None:
            return array
        return array[(slice(None),) * self.sequence + (slice(start, stop),)]

    def to_step(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a chunk of one step in the shape of the step graph's port."""
        return array if array.ndim == self.step_rank else array.squeeze(self.sequence)

    def from_step(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an output of the step graph as a chunk of one step."""
        if self.sequence is None or array.ndim == len(self.port.shape):
            return array
        return np.expand_dims(array, self.sequence)

    def stack_steps(self, steps: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Join steps `(batch, …)` along the sequence axis; without one, take the last."""
        return steps[-1] if self.sequence is None else np.stack(steps, self.sequence)

    def join_chunks(self, parts: Sequence[NDArray[Any]], batch: int = 1) -> NDArray[Any]:
        """Join chunks of `batch` sequences along the sequence axis; without one, take the last."""
        return join_chunks(self.port, parts, batch)

    def split_steps(self, array: NDArray[Any], batched: bool) -> list[NDArray[Any]]:
        """Return the steps of `array`; without a sequence axis, `array` alone.

        Args:
            array: Of the port's full shape.
            batched: Whether the steps keep a batch axis of size 1.
        """
        steps = [array] if self.sequence is None else np.moveaxis(array, self.sequence, 0)
        step = self.step
        return [part if batched else step.without_batch(part) for part in steps]


def input_axes(contract: Contract) -> dict[str, PortAxes]:
    """Return the axes of every data input over whole sequences, by name."""
    axes = _port_axes(contract, contract.data_inputs)
    return {name: replace(axis, optional=name in contract.lengths) for name, axis in axes.items()}


def required_axes(axes: Mapping[str, PortAxes]) -> dict[str, PortAxes]:
    """Return the axes of the inputs that must be given."""
    return {name: axis for name, axis in axes.items() if not axis.optional}


def output_axes(contract: Contract) -> dict[str, PortAxes]:
    """Return the axes of every data output over whole sequences, by name."""
    return _port_axes(contract, contract.data_outputs, is_output=True)


def _port_axes(
    contract: Contract, ports: Callable[[str], tuple[Port, ...]], is_output: bool = False
) -> dict[str, PortAxes]:
    step = ports("step") if contract.step else ()
    ranks = {port.name: len(port.shape) for port in step}
    whole = (
        ports("sequence")
        if contract.sequence
        else tuple(over_chunks(port, contract.hop, is_output) for port in step)
    )
    hop = contract.hop if contract.in_hops else None
    return {port.name: PortAxes.of(port, ranks.get(port.name), hop) for port in whole}


def _batch_axis(port: Port) -> int | None:
    """Find the batch axis; without a name, it is one of the first two axes and of size 1."""
    axis = port.axis(BATCH)
    if axis is not None:
        return axis
    features = 0 if np.dtype(port.dtype).kind == "i" else 1
    candidates = range(min(2, len(port.shape) - features))
    free = (axis for axis in candidates if port.axes[axis] is None)
    return next((axis for axis in free if port.shape[axis] == 1), None)
