"""Memory that graphs read and write in place, and a step bound to it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, Contract, Port
from edgernn.errors import ProviderError
from edgernn.runtime.providers import onnxruntime
from edgernn.runtime.session import Sessions
from edgernn.sizes import resolve

__all__ = ["BoundStep", "Outputs", "Slot", "advance", "failure", "slots"]

Outputs = NDArray[Any] | dict[str, NDArray[Any]]
Slots = Mapping[str, "Slot"]


class Slot:
    """The memory of one tensor, on the device where the provider runs.

    Attributes:
        value: The OrtValue, to be bound.
        write: Copies an array of the slot's shape and dtype into it.
        read: Returns a copy of its content.
    """

    __slots__ = ("read", "value", "write")

    def __init__(self, shape: tuple[int, ...], dtype: str, device: str) -> None:
        ort = onnxruntime()
        self.read: Callable[[], NDArray[Any]]
        self.write: Callable[[NDArray[Any]], None]
        if device == "cpu":
            array = np.zeros(shape, dtype)
            self.value = ort.OrtValue.ortvalue_from_numpy(array)  # on the array's own memory
            self.write, self.read = partial(array.__setitem__, ...), array.copy
        else:
            value = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(dtype).type, device)
            self.value = value
            self.write, self.read = value.update_inplace, lambda: np.array(value.numpy())


def slots(contract: Contract, batch: int, device: str) -> dict[str, Slot]:
    """Return one slot per state, by its name."""
    graph = next(iter(contract.graphs.values()))
    return {state.name: _slot(graph.input(state.input), batch, device) for state in contract.states}


class BoundStep:
    """The step graph bound to its memory in both directions, so that a step binds nothing.

    Attributes:
        writes: Per input by position, the function that copies an array into its memory.
        runs: The function that steps from the first set of states to the second, and back.
        read: Returns a copy of the output, or name → copy where there are several.
    """

    __slots__ = ("_takes", "read", "runs", "writes")

    def __init__(self, sessions: Sessions, states: tuple[Slots, Slots], batch: int) -> None:
        contract, device = sessions.contract, sessions.provider.device
        inputs, outputs = contract.data_inputs("step"), contract.data_outputs("step")
        data = {port.name: _slot(port, batch, device) for port in inputs}
        results = {port.name: _slot(port, batch, device) for port in outputs}
        session = sessions.open("step")
        self._takes = tuple(
            (resolve(port.shape, {BATCH: batch}), np.dtype(port.dtype), port.limit)
            for port in inputs
        )
        self.writes = tuple(slot.write for slot in data.values())
        self.read: Callable[[], Outputs] = _reader(results)
        self.runs = tuple(
            partial(
                session.run_with_iobinding,
                _bound(session, contract, data, results, before, after),
            )
            for before, after in (states, states[::-1])
        )

    def accepts(self, inputs: Sequence[Any]) -> bool:
        """Return whether inputs by position are beyond doubt what the ports take.

        The quick check of every step; what it does not accept, a `Guard` converts or refuses.
        """
        if len(inputs) != len(self._takes):
            return False
        for array, (shape, dtype, limit) in zip(inputs, self._takes, strict=True):
            if type(array) is not np.ndarray or array.dtype != dtype or array.shape != shape:
                return False
            if limit is not None and not (array.size == 1 and 0 <= array.item() < limit):
                return False
        return True

    @staticmethod
    def fits(contract: Contract, batch: int) -> bool:
        """Return whether the batch alone determines every shape of the step graph."""
        graph = contract.graphs["step"]
        return all(
            resolve(port.shape, {BATCH: batch}) is not None
            for port in (*graph.inputs, *graph.outputs)
        )


def advance(
    sessions: Sessions, kind: str, arrays: Mapping[str, NDArray[Any]], before: Slots, after: Slots
) -> dict[str, NDArray[Any]]:
    """Run graph `kind` once over data of any size; the states stay where the provider runs.

    Args:
        sessions: The model's sessions.
        kind: `sequence` or `step`.
        arrays: Data by port name, checked.
        before: The states to start from; left as they are.
        after: Where the final states go.

    Returns:
        The data outputs by port name, in memory of their own.

    Raises:
        ProviderError: ONNX Runtime failed.
    """
    contract, session = sessions.contract, sessions.open(kind)
    names = [port.name for port in contract.data_outputs(kind)]
    try:
        binding = _bound(session, contract, {}, dict.fromkeys(names), before, after)
        for name, array in arrays.items():
            binding.bind_cpu_input(name, array)
        session.run_with_iobinding(binding)
    except Exception as error:
        raise failure(sessions, kind, error) from error
    values = binding.get_outputs()
    return {name: np.array(value.numpy()) for name, value in zip(names, values, strict=False)}


def failure(sessions: Sessions, kind: str, error: Exception) -> ProviderError:
    """Return the error for a run that ONNX Runtime broke off."""
    return ProviderError(
        f"`{sessions.provider.name}` failed in the {kind} graph: {str(error).strip()} "
        "The state is as it was before."
    )


def _bound(
    session: Any,
    contract: Contract,
    data: Slots,
    results: Mapping[str, Slot | None],
    before: Slots,
    after: Slots,
) -> Any:
    """Return an I/O binding; a result without a slot gets fresh memory on the host."""
    binding = session.io_binding()
    for name, slot in data.items():
        binding.bind_ortvalue_input(name, slot.value)
    for name, result in results.items():
        if result is None:
            binding.bind_output(name)
        else:
            binding.bind_ortvalue_output(name, result.value)
    for state in contract.states:
        binding.bind_ortvalue_input(state.input, before[state.name].value)
        binding.bind_ortvalue_output(state.output, after[state.name].value)
    return binding


def _reader(results: Slots) -> Callable[[], Outputs]:
    """Return what reads the outputs after a step."""
    if len(results) == 1:
        return next(iter(results.values())).read
    reads = {name: slot.read for name, slot in results.items()}
    return lambda: {name: read() for name, read in reads.items()}


def _slot(port: Port, batch: int, device: str) -> Slot:
    shape = resolve(port.shape, {BATCH: batch})
    if shape is None:
        raise ValueError(f"`{port}` is not determined by the batch alone")
    return Slot(shape, port.dtype, device)
