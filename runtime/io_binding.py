"""Buffers that graphs read and write in place, bound once or for one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, Contract, Port
from edgernn.errors import ProviderError
from edgernn.runtime.device_transfer import Transfer
from edgernn.runtime.devices import HOST, Device
from edgernn.runtime.providers import onnxruntime
from edgernn.runtime.sessions import Sessions

__all__ = [
    "Buffers",
    "Outputs",
    "Run",
    "TensorBuffer",
    "allocate_buffer",
    "bind_buffers",
    "bound_run",
    "read_on_host",
    "run_error",
    "run_graph",
    "state_buffers",
]

# An array, or name → array for several outputs. With a union, every caller would have to narrow it.
Outputs = Any
Buffers = Mapping[str, "TensorBuffer"]
Run = Callable[[], Any]


class TensorBuffer:
    """The memory of one tensor, on the device where the provider runs.

    Args:
        shape: The shape of the arrays that are written and read.
        dtype: Their dtype.
        device: Where its memory is.
        bound: The shape of the OrtValue, which may have other axes of size 1; None for the same.

    Attributes:
        value: The OrtValue, to be bound.
        array: The same memory as an array, where it is the host's; otherwise None.
        write: Copies an array of the buffer's shape and dtype into it.
        read: Returns a copy of its content.
    """

    __slots__ = ("_device", "array", "read", "value", "write")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        device: Device = HOST,
        bound: tuple[int, ...] | None = None,
    ) -> None:
        ort = onnxruntime()
        bound = shape if bound is None else bound
        self.read: Callable[[], NDArray[Any]]
        self.write: Callable[[Any], None]
        self._device = device
        self.array: NDArray[Any] | None = None
        if device is HOST:
            self.array = array = np.zeros(shape, dtype)
            # Both share the array's memory.
            self.value = ort.OrtValue.ortvalue_from_numpy(array.reshape(bound))
            self.write, self.read = partial(array.__setitem__, ...), array.copy
            return
        with device.turn:
            kind = np.dtype(dtype).type
            self.value = ort.OrtValue.ortvalue_from_shape_and_type(
                bound, kind, device.memory, device.id
            )
        transfer = Transfer(self.value, bound, dtype, device)
        self.write, self.read = transfer.write, transfer.read
        if bound != shape:
            self.write = lambda given: transfer.write(given.reshape(bound))
            self.read = lambda: transfer.read().reshape(shape)

    def copy_from(self, other: TensorBuffer) -> None:
        """Copy the content of a buffer of the same shape, dtype and device, on that device."""
        try:
            with self._device.turn:
                self.value.update_inplace(other.value)
        except Exception:  # not every version and device of ONNX Runtime copies between OrtValues
            self.write(other.read())


def state_buffers(contract: Contract, batch: int, device: Device) -> dict[str, TensorBuffer]:
    """Return one buffer per state, by its name."""
    return {
        name: allocate_buffer(port, batch, device) for name, port in contract.state_ports.items()
    }


def run_graph(
    sessions: Sessions,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    before: Buffers,
    after: Buffers,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, NDArray[Any]]:
    """Run graph `kind` once over data of any size; the states stay on the provider's device.

    Args:
        sessions: The model's sessions.
        kind: `sequence` or `step`.
        arrays: Data by port name, checked.
        before: Buffers of the initial states; not changed.
        after: Buffers for the final states.
        sizes: The sizes of the axes, by which a form is chosen; None for the portable graph.

    Returns:
        The data outputs by port name, as new arrays.

    Raises:
        ProviderError: ONNX Runtime failed.
    """
    contract = sessions.contract
    session = sessions.open(kind) if sizes is None else sessions.open_for(kind, sizes)
    names = [port.name for port in contract.data_outputs(kind)]
    try:
        if sessions.provider.device is HOST:
            return _run_on_host(session, contract, names, arrays, before, after)
        binding = bind_buffers(session, contract, {}, dict.fromkeys(names), before, after)
        with sessions.provider.device.turn:
            for name, array in arrays.items():
                binding.bind_cpu_input(name, array)
            session.run_with_iobinding(binding)
    except Exception as error:
        raise run_error(sessions, kind, error) from error
    values = binding.get_outputs()
    return {name: np.array(value.numpy()) for name, value in zip(names, values, strict=False)}


def _run_on_host(
    session: Any,
    contract: Contract,
    names: list[str],
    arrays: Mapping[str, NDArray[Any]],
    before: Buffers,
    after: Buffers,
) -> dict[str, NDArray[Any]]:
    """Run a graph once; a binding for one call would take longer than copies of the states."""
    feeds = {**arrays, **{state.input: before[state.name].read() for state in contract.states}}
    results = [*names, *(state.output for state in contract.states)]
    values = dict(zip(results, session.run(results, feeds), strict=True))
    for state in contract.states:
        after[state.name].write(values.pop(state.output))
    return values


def run_error(sessions: Sessions, kind: str, error: Exception) -> ProviderError:
    """Return the error for a run that failed in ONNX Runtime."""
    reason = " ".join(str(error).split()).removesuffix(".")
    return ProviderError(
        f"`{sessions.provider.name}` failed in the {kind} graph: {reason}. No state was changed."
    )


def bind_buffers(
    session: Any,
    contract: Contract,
    data: Buffers,
    results: Mapping[str, TensorBuffer | None],
    before: Buffers,
    after: Buffers,
) -> Any:
    """Return an I/O binding; a result without a buffer gets fresh memory on the host."""
    binding = session.io_binding()
    for name, buffer in data.items():
        binding.bind_ortvalue_input(name, buffer.value)
    for name, result in results.items():
        if result is None:
            binding.bind_output(name)
        else:
            binding.bind_ortvalue_output(name, result.value)
    for state in contract.states:
        binding.bind_ortvalue_input(state.input, before[state.name].value)
        binding.bind_ortvalue_output(state.output, after[state.name].value)
    return binding


def read_on_host(session: Any, device: Device) -> frozenset[str]:
    """Return the inputs that a session reads in the memory of the host, though it runs on a device.

    ONNX Runtime copies such an input when it is bound, and not again before later runs.
    """
    if device is HOST or not hasattr(session, "get_input_memory_infos"):
        return frozenset()
    names = (argument.name for argument in session.get_inputs())
    memories = (memory.name.lower() for memory in session.get_input_memory_infos())
    return frozenset(
        name for name, memory in zip(names, memories, strict=True) if memory == HOST.memory
    )


def bound_run(
    session: Any,
    binding: Any,
    device: Device,
    options: Any = None,
    again: Buffers | None = None,
) -> Run:
    """Return a function that runs a session over what is bound.

    Args:
        session: The session.
        binding: Its I/O binding.
        device: The device of the buffers.
        options: ONNX Runtime's RunOptions.
        again: Inputs that are to be bound again before each run.
    """
    run = partial(session.run_with_iobinding, binding, options)
    if isinstance(device.turn, nullcontext) and not again:
        return run

    def run_in_turn() -> None:
        with device.turn:
            for name, buffer in (again or {}).items():
                binding.bind_ortvalue_input(name, buffer.value)
            run()

    return run_in_turn


def allocate_buffer(
    port: Port, batch: int, device: Device, bound: Sequence[int | str] | None = None
) -> TensorBuffer:
    """Return a buffer for a port whose shape the batch determines.

    Args:
        port: The port.
        batch: The number of sequences.
        device: Where its memory is.
        bound: The shape of the same port of a form, which may have other axes of size 1.
    """
    shape, other = (
        evaluate_shape(sizes, {BATCH: batch}) for sizes in (port.shape, bound or port.shape)
    )
    if shape is None or other is None:
        raise ValueError(f"`{port}` is not determined by the batch alone")
    return TensorBuffer(shape, port.dtype, device, other)
