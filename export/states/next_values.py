"""Which result of forward is the next value of a state that forward takes as an argument.

A state is found again in what forward returns: moved there from the final state of the same call,
or computed from it.

    h_next = cell(x, h); return h_next[None]      moved
    h_next = 0.9 * cell(x, h) + 0.1 * h           computed
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.call.argument_names import holds_data, holds_state
from edgernn.export.ir.call_nodes import is_cell
from edgernn.export.ir.dataflow import (
    ancestors,
    input_dependencies,
    is_elementwise_change,
    movement_sources,
)
from edgernn.export.ir.graph_names import result_path
from edgernn.export.states.node_states import NodeState, calls_in_row, is_same_value, last_in_row
from edgernn.option_names import option

__all__ = ["NextValue", "NextValues", "StatePairs"]


@dataclass(frozen=True)
class StatePairs:
    """Which results of forward go back into which arguments, path by path.

    Attributes:
        named: Pairs that the user names; where there are any, no others are guessed.
        updated: Arguments that forward writes into; where none are named.
        recognised: Pairs that names and shapes tell, likewise.
        proven: Pairs that numbers prove.
        names_tell: Whether the names of arguments tell data from states, as those in code do.
    """

    named: Mapping[str, str | int] = field(default_factory=dict)
    updated: Mapping[str, str] = field(default_factory=dict)
    recognised: Mapping[str, str] = field(default_factory=dict)
    proven: Mapping[str, str] = field(default_factory=dict)
    names_tell: bool = True

    @property
    def all(self) -> dict[str, str | int]:
        """All pairs, those that the user names before others."""
        return {**self.recognised, **self.updated, **self.proven, **self.named}

    def evidence(self, path: str) -> str | None:
        """Return what tells a pair, if that is neither the user nor a proof."""
        if path in self.named or path in self.proven:
            return None
        return "forward writes into it" if path in self.updated else "name and shape tell"


@dataclass(frozen=True)
class NextValue:
    """The next value of a state that forward takes as an argument.

    Attributes:
        value: The value that holds it: a result, or a final state that forward does not return.
        started: The states of recurrent nodes that start from the argument.
        evidence: See `StatePort`.
    """

    value: ir.Value
    started: Sequence[NodeState]
    evidence: str | None = None


class NextValues:
    """Finds the next values of the arguments of forward that are states, in a graph of `trace`."""

    def __init__(self, graph: ir.Graph, states: Sequence[NodeState], pairs: StatePairs) -> None:
        self._graph = graph
        self._states = states
        self._pairs = pairs

    def of(self, port: ir.Value) -> NextValue | None:
        """Return the next value of an argument, or None where it is not a state.

        Raises:
            InputError: The user named a result that there is not.
            UnsupportedModelError: Several results may be it.
        """
        path, pairs = port.name or "", self._pairs
        started = [state for state in self._states if port in movement_sources(state.initial)]
        if path in pairs.all:
            return NextValue(self._result_at(pairs.all[path]), started, pairs.evidence(path))
        if self._is_data(port, started):
            return None
        return self._returned(port, started) or self._unreturned(port, started)

    def _is_data(self, port: ir.Value, started: Sequence[NodeState]) -> bool:
        """Return whether an argument that starts a recurrent state is data all the same.

        So are the features of a network's nodes, which several rounds of messages change in one
        call. Names tell; in code, so does how often the layer runs from there, and that a cell
        starts from the first argument.
        """
        if not started:
            return False
        path, names_tell = port.name or "", self._pairs.names_tell
        cell = any(is_cell(state.node) for state in started)
        several = any(calls_in_row(state, self._states) > 1 for state in started)
        first = port is self._graph.inputs[0]
        if holds_state(path):
            return names_tell and several and first and len(self._graph.outputs) == 1
        return (cell and holds_data(path)) or (names_tell and (several or (cell and first)))

    def _returned(self, port: ir.Value, started: Sequence[NodeState]) -> NextValue | None:
        """Return the next value among the results, from states that start or depend on `port`."""
        states = started or self._states_of_width(port)
        if not states or port.dtype is None or not port.dtype.is_floating_point():
            return None
        moved = self._moved_result(port, states)
        if moved is not None and started:
            return NextValue(moved, states)
        if self._pairs.named or not (started or holds_state(port.name or "")):
            return None
        if moved is not None:
            return NextValue(moved, states)
        changed = self._changed_result(port, states)
        return None if changed is None else NextValue(changed, states, "shapes alone tell")

    def _unreturned(self, port: ir.Value, started: Sequence[NodeState]) -> NextValue | None:
        """Return the final state of the only layer that starts from `port` and is not returned.

        What a cell starts from is data there, and so is an argument not named like a state.
        """
        if len(started) != 1 or not is_same_value(started[0].initial, port):
            return None
        last = last_in_row(started[0], self._states)
        named = not self._pairs.names_tell or holds_state(port.name or "")
        return NextValue(last.final, started) if named and not is_cell(last.node) else None

    def _moved_result(self, port: ir.Value, states: Sequence[NodeState]) -> ir.Value | None:
        """Return the result that holds the last states of the calls that start with `states`."""
        wanted = {last_in_row(state, self._states).final for state in states}
        finals = {state.final for state in self._states}
        found = [
            result
            for result in self._graph.outputs
            if set(movement_sources(result)) & finals == wanted and result.shape == port.shape
        ]
        return found[-1] if found else None

    def _changed_result(self, port: ir.Value, states: Sequence[NodeState]) -> ir.Value | None:
        """Return the result that is computed from the last states of the calls.

        Such a state is changed after its cell, by zoneout, a gate or a norm. A product of it with
        weights, or its sum with another input, is another quantity. An only result is the output,
        whatever its shape.

        Raises:
            UnsupportedModelError: Several results may be it.
        """
        finals = {state.final for state in self._states}
        nexts = {last_in_row(state, self._states).final for state in states}
        found = [
            result
            for result in self._graph.outputs
            if result.shape == port.shape
            and not finals & set(movement_sources(result))
            and nexts & ancestors(result)
            and is_elementwise_change(result, {*nexts, port})
        ]
        if len(found) > 1:
            results = ", ".join(f"`{result_path(result)}`" for result in found)
            raise UnsupportedModelError(
                f"The next value of `{port.name}` may be each of {results} in what forward "
                f"returns. Say which: {option('states', {port.name: 'OUTPUT'})}."
            )
        return found[0] if found and len(self._graph.outputs) > 1 else None

    def _states_of_width(self, port: ir.Value) -> list[NodeState]:
        """Return the states that depend on `port` and on no other input of their width.

        One is a state that a mask resets where an episode ends.
        """
        return [
            state
            for state in self._states
            if (width := _width(state.final))
            and [one for one in input_dependencies(state.initial) if _width(one) >= width] == [port]
        ]

    def _result_at(self, place: str | int) -> ir.Value:
        """Return the result that an option names, by its number, its name or its whole path."""
        paths = [result_path(result) or "" for result in self._graph.outputs]
        wanted = f"[{place}]" if str(place).isdigit() else str(place)
        for path, result in zip(paths, self._graph.outputs, strict=True):
            names = (path, path.lstrip("."), path.strip('[]"'))
            if (wanted, paths) == ("[0]", [""]) or place == path or wanted in names:
                return result
        known = ", ".join(f"`{path}`" for path in paths if path) or "one tensor, `0`"
        raise InputError(f"`{place}` is not in what forward returns; it returns {known}.")


def _width(value: ir.Value) -> int:
    """Return the product of the sizes that are numbers; 0 where the shape is not known."""
    sizes = [size for size in value.shape or () if isinstance(size, int)]
    return math.prod(sizes) if value.shape is not None else 0
