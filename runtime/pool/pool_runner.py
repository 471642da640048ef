"""The graphs of a model, run over rows of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.runtime.bound_step import BoundStep
from edgernn.runtime.devices import HOST
from edgernn.runtime.graph_runner import GraphRunner
from edgernn.runtime.io_binding import Buffers, run_error, state_buffers
from edgernn.runtime.pool.batch_step import BatchStep, StepMemory
from edgernn.runtime.pool.device_states import DeviceStates
from edgernn.runtime.pool.pool_inputs import Arrays, step_inputs, step_outputs
from edgernn.runtime.pool.pool_parts import Part, parts_of, run_parts
from edgernn.runtime.pool.pool_states import PoolStates, Rows
from edgernn.runtime.sessions import Sessions

__all__ = ["PoolRunner"]

_HOST_ROWS = 256
"""Rows of a block on the host: a larger batch is no faster, and its data leaves the cache."""

_DEVICE_ROWS = 4096
_STEPS_AT_ONCE = 16384
"""Steps of all streams that one call of the sequence graph runs; it needs memory for each."""

_BATCHES_KEPT = 16

Commit = Callable[[], None]


class PoolRunner:
    """Runs steps and chunks of the rows of a pool.

    Attributes:
        states: The rows.
    """

    def __init__(self, sessions: Sessions, capacity: int | None) -> None:
        contract, device = sessions.contract, sessions.provider.device
        rows = _HOST_ROWS if device is HOST else _DEVICE_ROWS
        self._size = min(rows, contract.most.get(BATCH, rows), capacity or rows)
        self._sessions = sessions
        self._device = device
        ports = {**step_inputs(contract), **step_outputs(contract)}
        self._axes = {name: port.shape.index(BATCH) for name, port in ports.items()}
        self._bound = contract.step is not None and BoundStep.fits(contract, 1)
        self._pads = device is not HOST and not contract.limited_states
        self._memory = StepMemory(self._size, device)
        self._steps: dict[int, BatchStep] = {}
        self.states = (
            PoolStates(contract, self._size)
            if device is HOST
            else DeviceStates(contract, self._size, device)
        )

    @property
    def nbytes(self) -> int:
        """The bytes of the states, and of the buffers of a step."""
        return self.states.nbytes + self._memory.nbytes

    def run_step(self, arrays: Arrays, rows: Rows, opened: int) -> Arrays:
        """Run one step of rows, and count it; return the outputs, with a row for each.

        Args:
            arrays: The inputs by name, checked, with a row for each of `rows`.
            rows: The rows, each once.
            opened: The number of rows that are in use.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        outputs: Arrays = {}

        def run(part: Part) -> Commit:
            data = {name: array[self._index(name, part.entries)] for name, array in arrays.items()}
            results, commit = (self._run_bound if self._bound else self._run_once)(data, part)
            for name, result in results.items():
                if name not in outputs:
                    shape = _with_batch(result, self._axes[name], len(rows))
                    outputs[name] = np.empty(shape, result.dtype)
                outputs[name][self._index(name, part.entries)] = result
            return partial(self._commit, commit, part.rows, self.states.hops[part.rows] + 1)

        whole = opened if self._pads else opened - opened % self._size
        run_parts(parts_of(rows, self._size, whole if self._bound else 0), run)
        return outputs

    def run_chunks(
        self, arrays: Sequence[Arrays], hops: int, rows: Rows, axes: Mapping[str, int] | None
    ) -> tuple[list[Arrays], Commit]:
        """Run chunks of one length; no row changes before `commit` is called.

        Args:
            arrays: The inputs of each stream, checked, for a batch of 1.
            hops: The hops of each chunk, at least 1.
            rows: The rows of the streams.
            axes: The batch axis of each port of the sequence graph; None to run each chunk alone.

        Returns:
            The outputs of each stream in the shapes of the sequence graph for a batch of 1, and
            `commit`.

        Raises:
            InputError: Hops remain after the last full call, and there is no step graph.
            ProviderError: ONNX Runtime failed.
        """
        hop = self._sessions.contract.hop
        most = 1 if axes is None else min(self._size, max(1, _STEPS_AT_ONCE // (hops * hop)))
        outputs: list[Arrays] = []
        finals: list[tuple[Rows, Arrays]] = []
        for start in range(0, len(rows), most):
            part, given = rows[start : start + most], arrays[start : start + most]
            found, final = self._run_hops(_joined(given, axes), hops, part)
            outputs += _split(found, axes, len(part))
            finals.append((part, final))
        counted = self.states.hops[rows] + hops
        return outputs, partial(self._commit, partial(self._scatter, finals), rows, counted)

    def _run_hops(self, arrays: Arrays, hops: int, rows: Rows) -> tuple[Arrays, Arrays]:
        """Run chunks of rows as one batch; return the outputs and the states after them."""
        before, after = self._buffers(rows)
        outputs = GraphRunner(self._sessions, len(rows)).run_hops(arrays, hops, before, after)
        return outputs, _read(after)

    def _run_once(self, data: Arrays, part: Part) -> tuple[Arrays, Commit]:
        """Run a step whose shapes the batch does not determine, or without a step graph."""
        before, after = self._buffers(part.rows)
        data = {name: np.ascontiguousarray(array) for name, array in data.items()}
        outputs = GraphRunner(self._sessions, len(part.rows)).run_step(data, before, after)
        return outputs, partial(self.states.scatter, part.rows, _read(after))

    def _run_bound(self, data: Arrays, part: Part) -> tuple[Arrays, Commit]:
        """Run a step in bound buffers; the outputs are in them, to be copied before the next."""
        count = len(part.rows)
        step = self._step(count if part.block is None else self._size)
        if part.block is None:
            before, after = step.states
            if self._device is HOST:
                self.states.gather(part.rows, _read(before))
            else:
                _write(before, self.states.read(part.rows))
            outputs = self._run(step, data, _values(before), _values(after))
            return outputs, partial(self.states.scatter, part.rows, _read(after))
        *values, commit = self.states.in_place(part.block)
        if count == self._size:
            return self._run(step, data, *values), commit
        data = {name: _padded(array, self._axes[name], self._size) for name, array in data.items()}
        outputs = self._run(step, data, *values)
        opened = slice(0, count)
        return {name: array[self._index(name, opened)] for name, array in outputs.items()}, commit

    def _run(self, step: BatchStep, *arguments: Any) -> Arrays:
        try:
            return step.run(*arguments)
        except Exception as error:
            raise run_error(self._sessions, "step", error) from error

    def _step(self, batch: int) -> BatchStep:
        """Return the step for a batch; those of the last sizes are kept."""
        step = self._steps.pop(batch, None)
        if step is None:
            step = BatchStep(self._session, self._sessions, batch, self._memory)
        if len(self._steps) >= _BATCHES_KEPT:
            del self._steps[next(iter(self._steps))]
        self._steps[batch] = step
        return step

    @cached_property
    def _session(self) -> Any:
        """The step graph, or its form for whole blocks.

        It is one for all parts, so that what a stream gives does not depend on how many others
        step with it.
        """
        return self._sessions.open_for("step", {BATCH: self._size})

    def _buffers(self, rows: Rows) -> tuple[Buffers, Buffers]:
        """Return buffers for rows, the first with their states."""
        contract = self._sessions.contract
        before, after = (state_buffers(contract, len(rows), self._device) for _ in range(2))
        _write(before, self.states.read(rows))
        return before, after

    def _index(self, name: str, entries: slice | NDArray[np.intp]) -> tuple[Any, ...]:
        """Return what takes entries of the batch axis of a port of a step."""
        return (slice(None),) * self._axes[name] + (entries,)

    def _commit(self, change: Commit, rows: Rows, hops: Rows) -> None:
        change()
        self.states.hops[rows] = hops

    def _scatter(self, finals: Sequence[tuple[Rows, Arrays]]) -> None:
        for rows, states in finals:
            self.states.scatter(rows, states)


def _values(buffers: Buffers) -> dict[str, Any]:
    return {name: buffer.value for name, buffer in buffers.items()}


def _read(buffers: Buffers) -> Arrays:
    return {name: buffer.read() for name, buffer in buffers.items()}


def _write(buffers: Buffers, arrays: Arrays) -> None:
    for name, array in arrays.items():
        buffers[name].write(array)


def _with_batch(array: NDArray[Any], axis: int, batch: int) -> tuple[int, ...]:
    return (*array.shape[:axis], batch, *array.shape[axis + 1 :])


def _padded(array: NDArray[Any], axis: int, batch: int) -> NDArray[Any]:
    """Return an array with zeros after its rows, up to a batch."""
    padded = np.zeros(_with_batch(array, axis, batch), array.dtype)
    padded[(slice(None),) * axis + (slice(0, array.shape[axis]),)] = array
    return padded


def _joined(arrays: Sequence[Arrays], axes: Mapping[str, int] | None) -> Arrays:
    """Return the inputs of streams as those of one batch."""
    if axes is None or len(arrays) == 1:
        return arrays[0]
    return {name: np.concatenate([each[name] for each in arrays], axes[name]) for name in arrays[0]}


def _split(arrays: Arrays, axes: Mapping[str, int] | None, count: int) -> list[Arrays]:
    """Return the outputs of a batch as those of each stream."""
    if axes is None or count == 1:
        return [arrays]
    parts = {name: np.split(array, count, axes[name]) for name, array in arrays.items()}
    return [{name: part[place] for name, part in parts.items()} for place in range(count)]
