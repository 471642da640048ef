"""Between torch's ports and those of the graphs as they are written.

The options of the contract change names, layouts and dtypes of ports, never what they mean. What
runs a graph for comparison with torch speaks torch's ports; this is the one place that translates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, Contract, State
from edgernn.errors import ContractError
from edgernn.export.proof.graph_runs import Arrays, Run

__all__ = ["Dialect"]

_BATCH_FIRST = (1, 0, 2)


class Dialect:
    """The translation of data and states from torch's ports to written ones and back.

    It follows from the ports themselves: another dtype is cast to, `h_l0`, `h_l1`, … are the parts
    of `h` by layer, a state whose axis `batch` is in front has torch's first two axes exchanged,
    and a boolean data input that torch does not have says which sequences start anew.

    Args:
        torch: The contract in torch's own ports.
        written: The contract of the graphs as they are written.

    Raises:
        ContractError: The ports of `written` are not those of `torch` in another form.
    """

    def __init__(self, torch: Contract, written: Contract) -> None:
        self.torch = torch
        self.written = written
        self._theirs = next(iter(written.graphs.values()))
        self._ours = torch.graphs["sequence"]
        self._parts = {state.name: _parts(state, written.states) for state in torch.states}
        kind = next(iter(written.graphs))
        same = kind if kind in torch.graphs else "sequence"
        known = [port.name for port in torch.data_inputs(same)]
        extra = [port for port in written.data_inputs(kind) if port.name not in known]
        self._masks = [port.name for port in extra if port.dtype == "bool"]
        self._check(kind, known, len(extra) == len(self._masks) <= 1)

    def run(self, run: Run) -> Run:
        """Return `run`, which takes and gives the written ports, as a function of torch's."""

        def translated(data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
            masks, states = self._reset(states)
            given = {name: self._cast(array, name) for name, array in data.items()}
            outputs, finals = run({**given, **masks}, self._to_written(states))
            return self._outputs(outputs), self._to_torch(finals)

        return translated

    def recorded(self, golden: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return a recorded run, by torch's port names, in the written ports."""
        after = {state.output: state for state in self.torch.states}
        before = {state.input: state for state in self.torch.states}
        arrays: Arrays = {}
        for name, array in golden.items():
            state = before.get(name) or after.get(name)
            if state is None:
                arrays[name] = self._cast(array, name)
                continue
            pieces = self._to_written({state.name: array})
            for part in self._parts[state.name]:
                arrays[part.input if name in before else part.output] = pieces[part.name]
        for name in self._masks:
            batch = self._batch({s.name: golden[s.input] for s in self.torch.states})
            arrays[name] = np.zeros(batch, bool)
        return arrays

    def _check(self, kind: str, inputs: list[str], known: bool) -> None:
        ours = inputs + [part.input for parts in self._parts.values() for part in parts]
        ours += [port.name for port in self.torch.data_outputs("sequence")]
        ours += [part.output for parts in self._parts.values() for part in parts]
        graph = self._theirs
        theirs = [p.name for p in (*graph.inputs, *graph.outputs) if p.name not in self._masks]
        if not known or sorted(ours) != sorted(theirs):
            raise ContractError(
                f"The {kind} graph has the ports {', '.join(theirs)}; the model would give "
                f"{', '.join(ours)}. It is not the model that the graph was made from."
            )

    def _cast(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        ports = (*self._theirs.inputs, *self._theirs.outputs)
        dtype = next((port.dtype for port in ports if port.name == name), array.dtype)
        return array.astype(dtype, copy=False)

    def _outputs(self, outputs: Arrays) -> Arrays:
        dtypes = {port.name: port.dtype for port in self._ours.outputs}
        return {
            name: array.astype(dtypes.get(name, array.dtype), copy=False)
            for name, array in outputs.items()
        }

    def _to_written(self, states: Arrays) -> Arrays:
        written: Arrays = {}
        for name, array in states.items():
            parts = self._parts[name]
            pieces = np.split(array, len(parts)) if len(parts) > 1 else [array]
            for part, piece in zip(parts, pieces, strict=True):
                moved = piece.transpose(_BATCH_FIRST) if self._is_moved(name, part) else piece
                written[part.name] = self._cast(moved, part.input)
        return written

    def _to_torch(self, states: Arrays) -> Arrays:
        found: Arrays = {}
        for state in self.torch.states:
            pieces = [
                states[part.name].transpose(_BATCH_FIRST)
                if self._is_moved(state.name, part)
                else states[part.name]
                for part in self._parts[state.name]
            ]
            whole = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
            found[state.name] = whole.astype(self._ours.input(state.input).dtype, copy=False)
        return found

    def _is_moved(self, name: str, part: State) -> bool:
        (ours,) = [self._ours.input(s.input) for s in self.torch.states if s.name == name]
        return ours.axis(BATCH) == 1 and self._theirs.input(part.input).axis(BATCH) == 0

    def _reset(self, states: Arrays) -> tuple[Arrays, Arrays]:
        """Let sequences that start from their initial state do so by the mask, from NaN."""
        if not self._masks:
            return {}, states
        batch = self._batch(states)
        mask = np.ones(batch, bool)
        for state in self.torch.states:
            axis = self._ours.input(state.input).axis(BATCH) or 0
            same = states[state.name] == self.torch.initial(state, batch)
            mask &= np.moveaxis(same, axis, 0).reshape(batch, -1).all(axis=1)
        spoilt: Arrays = {}
        for state in self.torch.states:
            axis = self._ours.input(state.input).axis(BATCH) or 0
            array = np.moveaxis(states[state.name].copy(), axis, 0)
            array[mask] = np.nan
            spoilt[state.name] = np.moveaxis(array, 0, axis)
        return dict.fromkeys(self._masks, mask), spoilt

    def _batch(self, states: Arrays) -> int:
        state = self.torch.states[0]
        axis = self._ours.input(state.input).axis(BATCH)
        assert axis is not None
        return int(states[state.name].shape[axis])


def _parts(state: State, written: tuple[State, ...]) -> tuple[State, ...]:
    """Return the written states that `state` is: itself, or its layers'."""
    by_name = {one.name: one for one in written}
    if state.name in by_name:
        return (by_name[state.name],)
    layers = (by_name.get(f"{state.name}_l{layer}") for layer in range(len(written)))
    return tuple(layer for layer in layers if layer is not None) or (state,)
