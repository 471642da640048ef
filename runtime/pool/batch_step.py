"""One step of a batch of streams, bound to buffers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, Port
from edgernn.runtime.devices import HOST, Device
from edgernn.runtime.io_binding import Buffers, TensorBuffer, allocate_buffer, read_on_host
from edgernn.runtime.providers import onnxruntime
from edgernn.runtime.sessions import Sessions

__all__ = ["BatchStep", "StepMemory"]

Arrays = dict[str, NDArray[Any]]


class HostBuffer(TensorBuffer):
    """A buffer whose memory is that of a C-contiguous array."""

    __slots__ = ()

    def __init__(self, array: NDArray[Any], bound: tuple[int, ...]) -> None:
        self._device, self.array = HOST, array
        self.value = onnxruntime().OrtValue.ortvalue_from_numpy(array.reshape(bound))
        self.write, self.read = partial(array.__setitem__, ...), partial(np.asarray, array)


class StepMemory:
    """The memory of the buffers of steps, which all sizes of a batch share on the host.

    On the host, `read` of a buffer returns the memory itself, to be copied before the next run.
    """

    def __init__(self, size: int, device: Device) -> None:
        self._size = size
        self._device = device
        self._arrays: dict[str, NDArray[Any]] = {}

    @property
    def nbytes(self) -> int:
        """The bytes that are used so far."""
        return sum(array.nbytes for array in self._arrays.values())

    def buffer(
        self, key: str, port: Port, batch: int, bound: Sequence[int | str] | None = None
    ) -> TensorBuffer:
        """Return a buffer for a port and a batch of at most `size`.

        Args:
            key: What names its memory.
            port: The port.
            batch: The batch.
            bound: The shape of the same port of a form, which may have other axes of size 1.
        """
        if self._device is not HOST:
            return allocate_buffer(port, batch, self._device, bound)
        whole, shape, other = (
            _shape(sizes, rows)
            for sizes, rows in (
                (port.shape, self._size),
                (port.shape, batch),
                (bound or port.shape, batch),
            )
        )
        if key not in self._arrays:
            self._arrays[key] = np.zeros(math.prod(whole), port.dtype)
        return HostBuffer(self._arrays[key][: math.prod(shape)].reshape(shape), other)


def _shape(sizes: Sequence[int | str], batch: int) -> tuple[int, ...]:
    shape = evaluate_shape(tuple(sizes), {BATCH: batch})
    assert shape is not None
    return shape


class BatchStep:
    """The step graph for a batch of one size, bound to buffers for its inputs and outputs.

    Args:
        session: The session of the step graph, or of a form of it.
        sessions: The sessions of the model.
        batch: The number of rows.
        memory: The memory of the buffers.

    Attributes:
        states: Buffers for the states before and after a step; a run may use others.
    """

    def __init__(self, session: Any, sessions: Sessions, batch: int, memory: StepMemory) -> None:
        contract = sessions.contract
        self._session = session
        shapes = {port.name: port.shape for port in (*session.get_inputs(), *session.get_outputs())}
        self._binding = self._session.io_binding()
        self._turn = sessions.provider.device.turn
        self._pairs = contract.states
        self._inputs, self._outputs = (
            {port.name: memory.buffer(port.name, port, batch, shapes[port.name]) for port in ports}
            for ports in (contract.data_inputs("step"), contract.data_outputs("step"))
        )
        before, after = (
            {
                state.name: memory.buffer(f"{role} {state.name}", port, batch)
                for state, port in zip(contract.states, contract.state_ports.values(), strict=True)
            }
            for role in ("before", "after")
        )
        self.states: tuple[Buffers, Buffers] = before, after
        on_host = read_on_host(self._session, sessions.provider.device)
        self._again = [name for name in self._inputs if name in on_host]
        for name, buffer in self._inputs.items():
            self._binding.bind_ortvalue_input(name, buffer.value)
        for name, buffer in self._outputs.items():
            self._binding.bind_ortvalue_output(name, buffer.value)

    def run(self, data: Arrays, before: Mapping[str, Any], after: Mapping[str, Any]) -> Arrays:
        """Run one step and return the outputs.

        Args:
            data: The inputs by name, for the whole batch.
            before: Name of a state → the OrtValue to read.
            after: Name of a state → the OrtValue to write.
        """
        for name, array in data.items():
            self._inputs[name].write(array)
        with self._turn:
            for state in self._pairs:
                self._binding.bind_ortvalue_input(state.input, before[state.name])
                self._binding.bind_ortvalue_output(state.output, after[state.name])
            for name in self._again:
                self._binding.bind_ortvalue_input(name, self._inputs[name].value)
            self._session.run_with_iobinding(self._binding)
        return {name: buffer.read() for name, buffer in self._outputs.items()}
