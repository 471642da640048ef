"""The step graph of a stream, bound to its buffers once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, Contract, Port
from edgernn.runtime.cuda_graph import captured_runs
from edgernn.runtime.io_binding import (
    Buffers,
    Outputs,
    Run,
    TensorBuffer,
    allocate_buffer,
    bind_buffers,
    bound_run,
    read_on_host,
)
from edgernn.runtime.sessions import Sessions

__all__ = ["BoundStep"]


class BoundStep:
    """The step graph bound in both directions between two sets of states.

    Attributes:
        put: Copies inputs by position into their buffers and returns True, or returns False where
            `InputCheck` has to convert or refuse them.
        runs: The function that steps from the first set of states to the second, and the one back.
        read: Returns a copy of the output, or name → copy where there are several.
        steps: For either direction, a function that puts inputs, runs and reads; it returns None,
            before it runs, where `put` would return False.
    """

    __slots__ = ("put", "read", "runs", "steps")

    def __init__(self, sessions: Sessions, states: tuple[Buffers, Buffers], batch: int) -> None:
        contract, device = sessions.contract, sessions.provider.device
        inputs, outputs = contract.data_inputs("step"), contract.data_outputs("step")
        session = sessions.open_for("step", {BATCH: batch})
        bound = {port.name: port.shape for port in (*session.get_inputs(), *session.get_outputs())}
        data, results = (
            {port.name: allocate_buffer(port, batch, device, bound[port.name]) for port in ports}
            for ports in (inputs, outputs)
        )
        self.put = _inputs_writer(
            tuple(_input_writer(port, data[port.name], batch) for port in inputs)
        )
        self.read = _outputs_reader(results)
        again, runs = read_on_host(session, device), []
        for before, after in (states, states[::-1]):
            binding = bind_buffers(session, contract, data, results, before, after)
            buffers = {**data, **{state.input: before[state.name] for state in contract.states}}
            rebound = {name: buffers[name] for name in again}
            runs.append(bound_run(session, binding, device, again=rebound))
        self.runs: tuple[Run, ...] = tuple(runs)
        if sessions.provider.captures_graphs:
            self._capture(sessions, states, data, results)
        only = inputs[0] if len(inputs) == 1 and inputs[0].limit is None else None
        array = None if only is None else data[only.name].array
        self.steps = tuple(
            _whole_step(self.put, run, self.read)
            if array is None
            else _step_of_array(array, run, self.read)
            for run in self.runs
        )

    def _capture(
        self, sessions: Sessions, states: tuple[Buffers, Buffers], data: Buffers, results: Buffers
    ) -> None:
        """Run steps as captured CUDA graphs, where these give the same numbers."""
        captured, reason = captured_runs(sessions, states, data, results, self.runs)
        if captured is not None:
            self.runs = captured
            return
        warnings.warn(
            f"`enable_cuda_graph` has no effect on `{sessions.contract.source}`: {reason}.",
            RuntimeWarning,
            stacklevel=2,
        )

    @staticmethod
    def fits(contract: Contract, batch: int) -> bool:
        """Return whether the batch alone determines every shape of the step graph."""
        graph = contract.graphs["step"]
        return all(
            evaluate_shape(port.shape, {BATCH: batch}) is not None
            for port in (*graph.inputs, *graph.outputs)
        )


def _input_writer(port: Port, buffer: TensorBuffer, batch: int) -> Callable[[Any], bool]:
    """Return a function that checks one input and copies it into its buffer."""
    shape, dtype, limit = (
        evaluate_shape(port.shape, {BATCH: batch}),
        np.dtype(port.dtype),
        port.limit,
    )
    write = buffer.write

    def put(array: Any) -> bool:
        if type(array) is np.ndarray and array.dtype == dtype and array.shape == shape:
            write(array)
            return True
        return False

    def put_id(array: Any) -> bool:
        if (
            type(array) is np.ndarray
            and array.dtype == dtype
            and array.shape == shape
            and 0 <= array.item() < limit
        ):
            write(array)
            return True
        return False

    def put_ids(array: Any) -> bool:
        return (
            type(array) is np.ndarray
            and array.dtype == dtype
            and array.shape == shape
            and array.min() >= 0
            and array.max() < limit
            and put(array)
        )

    if limit is None:
        return put
    return put_id if shape is not None and np.prod(shape) == 1 else put_ids


def _whole_step(
    put: Callable[[Sequence[Any]], bool], run: Run, read: Callable[[], Outputs]
) -> Callable[[Sequence[Any]], Outputs | None]:
    """Return a function that puts inputs, runs a step and reads, in one call."""

    def step(inputs: Sequence[Any]) -> Outputs | None:
        if put(inputs):
            run()
            return read()
        return None

    return step


def _step_of_array(
    buffer: NDArray[Any], run: Run, read: Callable[[], Outputs]
) -> Callable[[Sequence[Any]], Outputs | None]:
    """Return the same for one input, any numbers, that is an array in the host's memory."""
    dtype, shape = buffer.dtype, buffer.shape

    def step(inputs: Sequence[Any]) -> Outputs | None:
        if len(inputs) == 1:
            array = inputs[0]
            if type(array) is np.ndarray and array.dtype == dtype and array.shape == shape:
                buffer[...] = array
                run()
                return read()
        return None

    return step


def _inputs_writer(puts: tuple[Callable[[Any], bool], ...]) -> Callable[[Sequence[Any]], bool]:
    """Return a function that does this for all inputs by position."""
    if len(puts) == 1:
        (first,) = puts
        return lambda inputs: len(inputs) == 1 and first(inputs[0])
    return lambda inputs: (
        len(inputs) == len(puts)
        and all(put(array) for put, array in zip(puts, inputs, strict=True))
    )


def _outputs_reader(results: Buffers) -> Callable[[], Outputs]:
    """Return a function that reads the outputs."""
    if len(results) == 1:
        return next(iter(results.values())).read
    reads = {name: buffer.read for name, buffer in results.items()}
    return lambda: {name: read() for name, read in reads.items()}
