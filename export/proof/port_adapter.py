"""Translation between torch's ports and those of exported graphs.

Export options change names, layouts and dtypes of ports, never what they mean. The proof uses
torch's ports, and translates here alone:

    torch       x int64, h (2, batch, 6) float32
    exported    x int32, h_l0 and h_l1 (batch, 1, 6) float16, reset (batch,) bool
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, Contract, State
from edgernn.errors import ContractError
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.graph_function import GraphFunction
from edgernn.export.proof.reference import RunResult

__all__ = ["PortAdapter"]


class PortAdapter:
    """The translation of data and states from torch's ports to exported ones and back.

    It follows from the ports themselves:

    1. An array is cast where its dtype is another.
    2. `h_l0`, `h_l1`, … are the parts of `h` along axis 0.
    3. The batch axis of a state is moved to the front where its exported one is the first.
    4. A boolean data input that torch does not have says which sequences start anew.

    Args:
        torch: The contract in torch's own ports.
        exported: The contract of the exported graphs.

    Raises:
        ContractError: The exported ports are not torch's in another form.
    """

    def __init__(self, torch: Contract, exported: Contract) -> None:
        self.torch = torch
        self.exported = exported
        kind = next(iter(exported.graphs))
        known = [p.name for p in torch.data_inputs(kind if kind in torch.graphs else "sequence")]
        added = [port for port in exported.data_inputs(kind) if port.name not in known]
        self._torch_ports = torch.graphs["sequence"]
        self._ports = exported.graphs[kind]
        self._dtypes = {p.name: p.dtype for p in (*self._ports.inputs, *self._ports.outputs)}
        self._parts = {state.name: _parts(state, exported.states) for state in torch.states}
        self._masks = [port.name for port in added if port.dtype == "bool"]
        self._check_ports(kind, known, has_unknown=not len(added) == len(self._masks) <= 1)
        self._state_dtypes = {s.name: self._torch_ports.input(s.input).dtype for s in torch.states}
        self._batch_axes = {
            (name, part.name): self._find_batch_axes(name, part)
            for name, parts in self._parts.items()
            for part in parts
        }

    def adapt(self, run: GraphFunction) -> GraphFunction:
        """Return a function of exported ports as a function of torch's."""
        torch_dtypes = {port.name: port.dtype for port in self._torch_ports.outputs}

        def adapted(data: Arrays, states: Arrays) -> RunResult:
            masks, states = self._mask_initial(states)
            exported_data = {name: self._cast(array, name) for name, array in data.items()}
            results, final_states = run({**exported_data, **masks}, self._to_exported(states))
            outputs = {
                name: array.astype(torch_dtypes.get(name, array.dtype), copy=False)
                for name, array in results.items()
            }
            return RunResult(outputs, self._to_torch(final_states))

        return adapted

    def adapt_arrays(self, arrays: Arrays) -> Arrays:
        """Return the arrays of a recorded run, by torch's port names, in the exported ports."""
        before = {state.input: state for state in self.torch.states}
        after = {state.output: state for state in self.torch.states}
        exported: dict[str, NDArray[Any]] = {}
        for name, array in arrays.items():
            state = before.get(name) or after.get(name)
            if state is None:
                exported[name] = self._cast(array, name)
                continue
            values = self._to_exported({state.name: array})
            for part in self._parts[state.name]:
                exported[part.input if name in before else part.output] = values[part.name]
        for name in self._masks:
            batch = self._batch({s.name: arrays[s.input] for s in self.torch.states})
            exported[name] = np.zeros(batch, bool)
        return exported

    def _check_ports(self, kind: str, inputs: list[str], has_unknown: bool) -> None:
        """Check that torch's ports and the exported ones are the same but for their form."""
        parts = [part for parts in self._parts.values() for part in parts]
        outputs = [port.name for port in self.torch.data_outputs("sequence")]
        expected = [*inputs, *(p.input for p in parts), *outputs, *(p.output for p in parts)]
        names = [name for name in self._dtypes if name not in self._masks]
        if has_unknown or sorted(expected) != sorted(names):
            raise ContractError(
                f"The {kind} graph has the ports {', '.join(names)}; the model would give "
                f"{', '.join(expected)}. It is not the model that the graph was made from."
            )
        for state in self.torch.states:
            self._check_size(kind, state)
        given, expected_timing = _timing(self.exported), _timing(self.torch)
        if given != expected_timing:
            raise ContractError(
                f"The {kind} graph has {given}; the model would give {expected_timing}. It is not "
                "the model that the graph was made from."
            )

    def _check_size(self, kind: str, state: State) -> None:
        """Check that a state has the same number of elements in both forms."""
        ours = self._torch_ports.input(state.input)
        theirs = [self._ports.input(part.input) for part in self._parts[state.name]]
        shape = [self.exported.constants.get(str(size), size) for size in ours.shape]
        if _size(shape) != sum(_size(port.shape) for port in theirs):
            raise ContractError(
                f"The {kind} graph has the state {', '.join(map(str, theirs))}; the model would "
                f"give {ours}. It is not the model that the graph was made from."
            )

    def _cast(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """Return an array in the dtype of an exported port."""
        return array.astype(self._dtypes.get(name, array.dtype), copy=False)

    def _to_exported(self, states: Arrays) -> Arrays:
        exported: dict[str, NDArray[Any]] = {}
        for name, array in states.items():
            parts = self._parts[name]
            values = np.split(array, len(parts)) if len(parts) > 1 else [array]
            for part, value in zip(parts, values, strict=True):
                ours, theirs = self._batch_axes[name, part.name]
                moved = _moved(value, ours, theirs)
                exported[part.name] = self._cast(moved, part.input)
        return exported

    def _to_torch(self, states: Arrays) -> Arrays:
        result: dict[str, NDArray[Any]] = {}
        for state in self.torch.states:
            values: list[NDArray[Any]] = []
            for part in self._parts[state.name]:
                ours, theirs = self._batch_axes[state.name, part.name]
                values.append(_moved(states[part.name], theirs, ours))
            whole = np.concatenate(values) if len(values) > 1 else values[0]
            result[state.name] = whole.astype(self._state_dtypes[state.name], copy=False)
        return result

    def _find_batch_axes(self, name: str, part: State) -> tuple[int, int]:
        """Return the batch axis of torch's state and that of its exported part."""
        (port,) = [self._torch_ports.input(s.input) for s in self.torch.states if s.name == name]
        ours, theirs = port.axis(BATCH), self._ports.input(part.input).axis(BATCH)
        return (0, 0) if ours is None or theirs is None else (ours, theirs)

    def _mask_initial(self, states: Arrays) -> tuple[Arrays, Arrays]:
        """Return the mask of sequences in their initial state, and states that are wrong for these.

        They are NaN, or the largest integer. A graph that has such an input must not read them
        where it is true.
        """
        if not self._masks:
            return {}, states
        batch = self._batch(states)
        mask = np.ones(batch, bool)
        for state in self.torch.states:
            same = states[state.name] == self.torch.initial(state, batch)
            by_sequence = np.moveaxis(same, self._batch_axis(state), 0).reshape(batch, -1)
            mask &= by_sequence.all(axis=1)
        masked: dict[str, NDArray[Any]] = {}
        for state in self.torch.states:
            masked[state.name] = states[state.name].copy()
            dtype = masked[state.name].dtype
            wrong = np.iinfo(dtype).max if dtype.kind == "i" else np.nan
            np.moveaxis(masked[state.name], self._batch_axis(state), 0)[mask] = wrong
        return dict.fromkeys(self._masks, mask), masked

    def _batch(self, states: Arrays) -> int:
        state = self.torch.states[0]
        return int(states[state.name].shape[self._batch_axis(state)])

    def _batch_axis(self, state: State) -> int:
        axis = self._torch_ports.input(state.input).axis(BATCH)
        assert axis is not None
        return axis


def _timing(contract: Contract) -> str:
    """Return the hop, and the delay and the tail of each output, in words."""
    counts = (("delay", contract.delays), ("tail", contract.tails))
    known = [f"{role} {count} of `{name}`" for role, of in counts for name, count in of.items()]
    return ", ".join([f"hop {contract.hop}", *sorted(known)])


def _moved(array: NDArray[Any], source: int, target: int) -> NDArray[Any]:
    """Return an array with an axis at another place; a number has none to move."""
    return array if source == target else np.moveaxis(array, source, target)


def _size(shape: Sequence[int | str]) -> int:
    """Return the number of elements along the constant axes together."""
    return math.prod(size for size in shape if isinstance(size, int))


def _parts(state: State, exported: tuple[State, ...]) -> tuple[State, ...]:
    """Return the exported states that `state` is: itself, or one per layer."""
    by_name = {one.name: one for one in exported}
    if state.name in by_name:
        return (by_name[state.name],)
    layers = (by_name.get(f"{state.name}_l{layer}") for layer in range(len(exported)))
    return tuple(layer for layer in layers if layer is not None) or (state,)
