"""Every recurrent state a port: where each one comes from, what it is called, where it goes.

Works on the graph as `trace` leaves it, with one node per recurrent call:

- a state that forward makes itself (zeros, a learned parameter) becomes a graph input, and the
  call's final state a graph output;
- a state that forward takes as an argument and returns is paired: the output goes back in there;
- a state computed from the data, such as a decoder's that starts from its encoder, stays inside,
  and so does a state whose rows are not those of the batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.capture.recurrent_calls import RecurrentCall
from edgernn.export.ir.call_nodes import runs_along_sequence
from edgernn.export.ir.dataflow import depends_on_data, is_random
from edgernn.export.ir.graph_names import result_path
from edgernn.export.ir.operator_kinds import Movement, operators_of
from edgernn.export.ir.recurrent_operators import STATES
from edgernn.export.states.folded_batch import (
    FoldedBatch,
    unfold_input,
    unfold_output,
)
from edgernn.export.states.next_values import NextValue, NextValues, StatePairs
from edgernn.export.states.node_states import NodeState, is_same_value, last_in_row
from edgernn.export.states.state_port import StatePort
from edgernn.option_names import option

__all__ = ["StateNames", "find_states", "own_starts", "uncarried_rows"]

_RESHAPES = operators_of(Movement.RESHAPES, Movement.PERMUTES)
"""Operators that give a tensor, all of it, another shape."""

FoldedBatches = Mapping[tuple[int, int], FoldedBatch]
"""The places of a call and of one of its states → how the rows of the state are folded."""


def find_states(
    graph: ir.Graph,
    states: Sequence[NodeState],
    calls: Sequence[RecurrentCall],
    pairs: StatePairs,
    own: bool = True,
    folded: FoldedBatches = MappingProxyType({}),
) -> tuple[StatePort, ...]:
    """Make the states of a model ports, in place, and return them in the contract's order.

    `calls` are the recurrent calls as an eager forward made them, with the states it started from.
    Where `own` is false, states that forward makes itself stay inside: it makes them at every call.
    `folded` are the states with several rows for each sequence.

    Raises:
        InputError: A pair names an argument or a result that forward does not have.
        UnsupportedModelError: A pair is of two shapes.
    """
    names = StateNames(states)
    ports = [
        *_argument_states(graph, states, names, pairs, folded),
        *(_own_states(graph, states, names, calls, folded) if own else ()),
    ]
    order = {state.call: place for place, state in enumerate(states)}
    return tuple(
        sorted(ports, key=lambda port: (-1 if port.call is None else order[port.call], port.index))
    )


def own_starts(states: Sequence[NodeState]) -> list[str]:
    """Return the layers that start from a state that forward makes itself."""
    return list(
        dict.fromkeys(
            state.layer
            for state in states
            if not depends_on_data(state.initial) and not state.initial.is_graph_input()
        )
    )


def uncarried_rows(states: Sequence[NodeState], folded: FoldedBatches) -> str:
    """Say which layer over time has a state that cannot be carried on, for its rows; else nothing.

    They are a number for each sequence, in the order of some axes.
    """
    for state in states:
        shape = state.final.shape or ()
        sizes = [str(size) for size in shape if not isinstance(size, int)]
        others = [size for size in sizes if size != BATCH]
        if (
            not others
            or depends_on_data(state.initial)
            or not runs_along_sequence(state.node)
            or any(size == "None" or SEQUENCE in size for size in others)
            or (state.call, state.index) in folded
        ):
            continue
        names = sorted({*re.findall(r"[A-Za-z_]\w*", others[0])} - {BATCH})
        remedy = (
            f"Give {' and '.join(f'`{name}`' for name in names)} as a number in the inputs."
            if names
            else "Fold the axes of x into them by reshape and transpose alone."
        )
        return (
            f"layer `{state.layer}` has a state of `{others[0]}` rows, which cannot be told by "
            f"sequence. {remedy}"
        )
    return ""


def _argument_states(
    graph: ir.Graph,
    states: Sequence[NodeState],
    names: StateNames,
    pairs: StatePairs,
    folded: FoldedBatches,
) -> list[StatePort]:
    """Pair the arguments that hold states with the results that hold their next values."""
    known = [port.name or "" for port in graph.inputs]
    for path in pairs.named:
        if path not in known:
            listed = ", ".join(f"`{name}`" for name in known)
            raise InputError(f"`{path}` is not an input of the model; it has {listed}.")
    next_values = NextValues(graph, states, pairs)
    ports: list[StatePort] = []
    for argument in list(graph.inputs):
        found = next_values.of(argument)
        if found is None:
            continue
        if not found.value.is_graph_output():
            graph.outputs.append(found.value)
        _check_pair(argument, found.value)
        rows = _folded_argument(argument, found.started, folded)
        ports.append(_argument_state(argument, found, states, names, rows))
        argument.name, found.value.name = ports[-1].input, ports[-1].output
        if rows is not None:
            unfold_input(graph, argument, rows)
            unfold_output(graph, found.value, rows)
    return ports


def _folded_argument(
    argument: ir.Value, started: Sequence[NodeState], folded: FoldedBatches
) -> FoldedBatch | None:
    """Return how the rows of an argument are folded: as those of the states that start from it."""
    known = {
        folded.get((state.call, state.index))
        for state in started
        if state.final.shape == argument.shape
    }
    return known.pop() if len(known) == 1 else None


def _argument_state(
    argument: ir.Value,
    found: NextValue,
    states: Sequence[NodeState],
    names: StateNames,
    folded: FoldedBatch | None,
) -> StatePort:
    only = found.started[0] if len(found.started) == 1 else None
    whole = only if only and is_same_value(only.initial, argument, _RESHAPES) else None
    unchanged = only if only and is_same_value(only.initial, argument) else None
    last = last_in_row(unchanged, states) if unchanged else None
    path, result = argument.name or "", result_path(found.value)
    return StatePort(
        name=names.of_argument(path, result or "", found.started, whole),
        argument=path,
        result=result,
        call=found.started[0].call if found.started else None,
        last_call=None if last is None else last.call,
        index=0 if whole is None else whole.index,
        any_value=bool(found.started) and all(state.of_layer for state in found.started),
        evidence=found.evidence,
        folded=folded,
    )


def _own_states(
    graph: ir.Graph,
    states: Sequence[NodeState],
    names: StateNames,
    calls: Sequence[RecurrentCall],
    folded: FoldedBatches,
) -> list[StatePort]:
    """Turn the states that forward makes itself into ports."""
    ports: list[StatePort] = []
    arguments = list(graph.inputs)
    for state in states:
        own, rows = state.initial, folded.get((state.call, state.index))
        if depends_on_data(own) or own.is_graph_input():
            continue
        if not (_is_per_sequence(state) or (rows and runs_along_sequence(state.node))):
            continue
        last = last_in_row(state, states)
        name, shape = names.of_state(state), ir.Shape(state.final.shape or ())
        before, after = ir.Value(name=f"{name}_in", type=own.type, shape=shape), last.final
        state.node.replace_input_with(state.input_place, before)
        graph.inputs.append(before)
        result = result_path(after)
        if not after.is_graph_output():
            graph.outputs.append(after)
        port = StatePort(
            name=name,
            argument=None,
            result=result,
            call=state.call,
            last_call=last.call,
            index=state.index,
            initial=_initial(calls[state.call], state.index, own, before, arguments, rows),
            any_value=state.of_layer,
            folded=rows,
        )
        after.name = port.output
        if rows is not None:
            unfold_input(graph, before, rows)
            unfold_output(graph, after, rows)
        ports.append(port)
    return ports


def _check_pair(before: ir.Value, after: ir.Value) -> None:
    """Raise UnsupportedModelError where a state comes back in another shape or dtype."""
    if before.shape != after.shape or before.dtype != after.dtype:
        raise UnsupportedModelError(
            f"State `{before.name}` goes in as {before.dtype}{before.shape} and comes out as "
            f"{after.dtype}{after.shape}; the next step needs the shape it had."
        )


def _is_per_sequence(state: NodeState) -> bool:
    """Return whether a call has one state for each sequence of the batch.

    A layer over the characters of every word, or over every frame of every sequence, runs
    batch*sequence sequences of its own, whose final states start nothing.
    """
    return {str(size) for size in state.final.shape or () if not isinstance(size, int)} <= {BATCH}


def _initial(
    call: RecurrentCall,
    index: int,
    own: ir.Value,
    port: ir.Value,
    arguments: Sequence[ir.Value],
    folded: FoldedBatch | None,
) -> NDArray[np.float32] | None:
    """Return the value that forward starts from, the same for all sequences; None for zeros."""
    if is_random(own):
        raise UnsupportedModelError(
            f"`{port.name}` starts from random numbers that forward draws anew at every call, so "
            "no two runs agree. Start it from zeros or from a parameter, or take it as an argument."
        )
    value = call.states[index].detach().numpy().astype(np.float32)
    if not value.any():
        return None
    dynamic = [axis for axis, size in enumerate(port.shape or ()) if not isinstance(size, int)]
    if folded is not None:
        value, dynamic = folded.unfold(value), [folded.batch_axis]
    if not dynamic:
        return value
    first = value.take([0], dynamic[0])
    if not np.array_equal(np.broadcast_to(first, value.shape), value):
        count = value.shape[dynamic[0]]
        raise UnsupportedModelError(
            f"`{port.name}` starts from a learned value of its own for each of {count} sequences. "
            f"Give the batch as a number: {_options(arguments, count)}."
        )
    return first


def _options(arguments: Sequence[ir.Value], batch: int) -> str:
    """Return the option that describes forward's arguments with a number for the batch."""
    specs = [
        f"{one.name}:{one.dtype.numpy() if one.dtype else ''}"
        f"[{','.join(str(size).replace(BATCH, str(batch)) for size in one.shape or ())}]"
        for one in arguments
    ]
    return option("inputs", specs)


class StateNames:
    """Gives the states of a model unique names; nodes of the same scope are one layer."""

    def __init__(self, states: Sequence[NodeState]) -> None:
        self._states = states
        self._several = len({(state.call, state.layer) for state in states}) > 1
        self._used: set[str] = set()

    def of_state(self, state: NodeState) -> str:
        """Return a name for the state of one recurrent node."""
        return self._unique(f"{state.layer}_{state.name}" if self._several else state.name)

    def of_argument(
        self, path: str, result: str, started: Sequence[NodeState], only: NodeState | None
    ) -> str:
        """Return a name for a state that forward takes as an argument.

        It is named after its ports where they are a pair, `NAME_in` and `NAME_out`; else after the
        states that are `started` from it, or the `only` one that is the whole of it; else after the
        argument.
        """
        stem = path.removesuffix("_in")
        if stem != path and result == f"{stem}_out":
            return self._unique(stem)
        if only is not None:
            return self.of_state(only)
        scopes = {state.scope for state in started}
        scope = scopes.pop() if len(scopes) == 1 else ""
        stack = [state for state in self._states if state.scope == scope]
        index = started[0].index if started else 0
        if not scope or {state for state in stack if state.index == index} != set(started):
            return self._unique(path)
        name = STATES[index]
        return self._unique(name if len(stack) == len(self._states) else f"{scope}_{name}")

    def _unique(self, name: str) -> str:
        name = re.sub(r"\W+", "_", name).strip("_")
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name
