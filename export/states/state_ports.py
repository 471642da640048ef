"""Every recurrent state a port: where each one comes from, what it is called, where it goes.

Works on the graph as `trace` leaves it, with one node per recurrent call:

- a state that forward makes itself (zeros, a learned parameter) becomes a graph input, and the
  call's final state a graph output;
- a state that forward takes as an argument and returns is paired: the output goes back in there;
- a state computed from the data, such as a decoder's that starts from its encoder, stays inside,
  and so does one that is not one for each sequence of the batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.capture.recurrent_calls import RecurrentCall
from edgernn.export.ir.dataflow import (
    depends_on_data,
    is_random,
    movement_sources,
)
from edgernn.export.ir.movement_operators import Movement, operators_of
from edgernn.export.ir.recurrent_operators import STATES
from edgernn.export.ir.results import result_path
from edgernn.export.states.pairing import (
    Pairs,
    check_pair,
    is_data_start,
    leaves_unreturned,
    next_value,
    reached,
)
from edgernn.export.states.slots import (
    Slot,
    StatePort,
    chain_end,
    same_value,
    state_slots,
)

__all__ = ["find_states", "make_ports"]

_KEEPING_ALL = operators_of(Movement.RESHAPES, Movement.PERMUTES)
"""Operators that give a tensor, all of it, another shape."""


def find_states(
    model: ir.Model,
    calls: Sequence[RecurrentCall],
    pairs: Pairs,
    labels: Mapping[int, Sequence[tuple[str, str]]],
) -> tuple[StatePort, ...]:
    """Make the states of `model` ports, in place, and return them in the contract's order.

    Args:
        model: The graph, its ports named as `trace` names them.
        calls: The recurrent calls as an eager forward made them, with the states it started from.
        pairs: Which results go back into which arguments.
        labels: See `state_slots`.

    Raises:
        InputError: A pair names an argument or a result that forward does not have.
        UnsupportedModelError: A pair is of two shapes.
    """
    return make_ports(model.graph, state_slots(model.graph, labels), calls, pairs)


def make_ports(
    graph: ir.Graph, slots: Sequence[Slot], calls: Sequence[RecurrentCall], pairs: Pairs
) -> tuple[StatePort, ...]:
    """Make the states in `slots` ports, in place; see `find_states`."""
    named = _Names(len({(slot.call, slot.layer) for slot in slots}))
    states = [
        *_argument_states(graph, slots, named, pairs),
        *_own_states(graph, slots, named, calls),
    ]
    order = {slot.call: place for place, slot in enumerate(slots)}
    return tuple(
        sorted(
            states, key=lambda state: (-1 if state.call is None else order[state.call], state.index)
        )
    )


class _Names:
    """The contract's names for states: `h` and `c`, behind the path of a layer among several.

    Nodes that say in their metadata of which `scope` they are, are one layer if it is the same.
    """

    def __init__(self, calls: int) -> None:
        self._several = calls > 1
        self._taken: set[str] = set()

    def of_slot(self, slot: Slot) -> str:
        return self.unique(f"{slot.layer}_{slot.name}" if self._several else slot.name)

    def of_port(
        self, path: str, result: str, fed: Sequence[Slot], slots: Sequence[Slot], own: Slot | None
    ) -> str:
        """Name a state after its ports where they are a pair, else after what it feeds."""
        stem = path.removesuffix("_in")
        if stem != path and result == f"{stem}_out":
            return self.unique(stem)
        if own is not None:
            return self.of_slot(own)
        scopes = {slot.node.metadata_props.get("scope") for slot in fed}
        scope = scopes.pop() if len(scopes) == 1 else None
        stack = [slot for slot in slots if slot.node.metadata_props.get("scope") == scope]
        index = fed[0].index if fed else 0
        if scope is None or {slot for slot in stack if slot.index == index} != set(fed):
            return self.unique(path)
        name = STATES[index]
        return self.unique(name if len(stack) == len(slots) else f"{scope}_{name}")

    def unique(self, name: str) -> str:
        name = re.sub(r"\W+", "_", name).strip("_")
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _argument_states(
    graph: ir.Graph, slots: Sequence[Slot], named: _Names, pairs: Pairs
) -> list[StatePort]:
    """Pair the arguments that hold states with the results that hold their next values."""
    known = [port.name or "" for port in graph.inputs]
    for path in pairs.named:
        if path not in known:
            listed = ", ".join(f"`{name}`" for name in known)
            raise InputError(f"`{path}` is not an input of the model; it has {listed}.")
    states: list[StatePort] = []
    for port in list(graph.inputs):
        path = port.name or ""
        fed = [slot for slot in slots if port in movement_sources(slot.before)]
        taken = path not in pairs.all and is_data_start(port, fed, slots, pairs)
        found = (
            None if taken else next_value(graph, port, fed or reached(port, slots), slots, pairs)
        )
        fed = fed if found is None else [*found.fed]
        only = fed[0] if len(fed) == 1 else None
        own = only if only and same_value(only.before, port) else None
        whole = only if only and same_value(only.before, port, _KEEPING_ALL) else None
        last = None if own is None else chain_end(own, slots)
        if found is not None:
            after = found.value
        elif last is not None and not taken and leaves_unreturned(port, last, pairs):
            after = last.after
            graph.outputs.append(after)
        else:
            continue
        check_pair(port, after)
        states.append(
            StatePort(
                named.of_port(path, result_path(after) or "", fed, slots, whole),
                path,
                result_path(after),
                fed[0].call if fed else None,
                None if last is None else last.call,
                0 if whole is None else whole.index,
                free=bool(fed) and all(slot.is_layers for slot in fed),
                told_by=None if found is None else found.told_by,
            )
        )
        _rename(port, after, states[-1])
    return states


def _own_states(
    graph: ir.Graph, slots: Sequence[Slot], named: _Names, calls: Sequence[RecurrentCall]
) -> list[StatePort]:
    """Turn the states that forward makes itself into ports."""
    states: list[StatePort] = []
    arguments = list(graph.inputs)
    for slot in slots:
        if (
            depends_on_data(slot.before)
            or slot.before.is_graph_input()
            or not _is_per_sequence(slot)
        ):
            continue
        last = chain_end(slot, slots)
        name = named.of_slot(slot)
        own = slot.before
        before = ir.Value(name=f"{name}_in", type=own.type, shape=ir.Shape(slot.after.shape or ()))
        slot.node.replace_input_with(slot.place, before)
        graph.inputs.append(before)
        after = last.after
        result = result_path(after)
        if not after.is_graph_output():
            graph.outputs.append(after)
        initial = _initial(calls[slot.call], slot.index, own, before, arguments)
        state = StatePort(
            name, None, result, slot.call, last.call, slot.index, initial, slot.is_layers
        )
        _rename(before, after, state)
        states.append(state)
    return states


def _is_per_sequence(slot: Slot) -> bool:
    """Return whether a call has one state for each sequence of the batch.

    A layer over the characters of every word, or over every frame of every sequence, runs
    batch*sequence of its own: what it leaves is nothing to go on from.
    """
    sizes = slot.after.shape or ()
    return {str(size) for size in sizes if not isinstance(size, int)} <= {BATCH}


def _initial(
    call: RecurrentCall, index: int, before: ir.Value, port: ir.Value, arguments: Sequence[ir.Value]
) -> NDArray[np.float32] | None:
    """Return what forward starts from, or None for zeros; one value for all sequences if it can."""
    if is_random(before):
        raise UnsupportedModelError(
            f"`{port.name}` starts from random numbers that forward draws anew at every call, so "
            "no two runs agree. Start it from zeros or from a parameter, or take it as an argument."
        )
    value = call.states[index].detach().numpy().astype(np.float32)
    if not value.any():
        return None
    dynamic = [axis for axis, size in enumerate(port.shape or ()) if not isinstance(size, int)]
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
    """Return the options that describe forward's arguments with a number for the batch."""
    specs = (
        f"{one.name}:{one.dtype.numpy() if one.dtype else ''}"
        f"[{','.join(str(size).replace(BATCH, str(batch)) for size in one.shape or ())}]"
        for one in arguments
    )
    return " ".join(f'--input "{spec}"' for spec in specs)


def _rename(before: ir.Value, after: ir.Value, state: StatePort) -> None:
    before.name = state.input
    after.name = state.output
