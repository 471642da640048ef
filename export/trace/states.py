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
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.contract import BATCH
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.example.call import Example, Run
from edgernn.export.example.tree import leaves
from edgernn.export.trace.capture import Call
from edgernn.export.trace.dataflow import (
    is_random,
    moved_from,
    read_from,
    reads_data,
    values_behind,
)
from edgernn.export.trace.layers import recurrent_calls
from edgernn.export.trace.trace import result_path

__all__ = ["Slot", "StatePort", "find_states", "layer_names", "make_ports", "recognised_states"]

# Operators that give a tensor, all of it, another shape
_RESHAPES = ("Identity", "Unsqueeze", "Squeeze", "Reshape", "Transpose")


@dataclass(frozen=True)
class StatePort:
    """One state of the model and where torch keeps it.

    Attributes:
        name: The contract's name, such as `h`.
        argument: The path of the argument that forward takes it from, or None.
        result: The path in forward's result that holds its next value, or None.
        call: The recurrent call that takes it, or None for a hand-written recurrence.
        last_call: The recurrent call that leaves its next value, likewise.
        index: 0 for h, 1 for c.
        initial: The value that forward starts from with 1 for the batch axis; None for zeros.
    """

    name: str
    argument: str | None
    result: str | None
    call: int | None
    last_call: int | None
    index: int = 0
    initial: NDArray[np.float32] | None = None

    @property
    def input(self) -> str:
        """The name of the input port."""
        return f"{self.name}_in"

    @property
    def output(self) -> str:
        """The name of the output port."""
        return f"{self.name}_out"


@dataclass(frozen=True)
class Slot:
    """One state of one recurrent node.

    Attributes:
        node: The node, with the name of its layer in its metadata.
        call: The place of its call among those of the model.
        index: 0 for h, 1 for c.
        place: The input of the node that takes the initial state.
        result: The output that holds the final state.
        weights: The input that tells whose layer it is.
    """

    node: ir.Node
    call: int
    index: int
    place: int
    result: int
    weights: int

    @property
    def before(self) -> ir.Value:
        """The initial state."""
        value = self.node.inputs[self.place]
        assert value is not None
        return value

    @property
    def after(self) -> ir.Value:
        """The final state."""
        return self.node.outputs[self.result]


def layer_names(model: ir.Model) -> None:
    """Write into every recurrent call's metadata its layer's path: unique, dots as underscores."""
    taken: dict[str, int] = {}
    for node in recurrent_calls(model.graph):
        path = _layer_path(node).replace(".", "_")
        taken[path] = count = taken.get(path, 0) + 1
        node.metadata_props["layer"] = path if count == 1 else f"{path}_{count}"


def find_states(
    model: ir.Model, calls: Sequence[Call], pairs: Mapping[str, str | int]
) -> tuple[StatePort, ...]:
    """Make the states of `model` ports, in place, and return them in the contract's order.

    Args:
        model: The graph, its ports named as `trace` names them.
        calls: The recurrent calls as an eager forward made them, with the states it started from.
        pairs: States named by the user: argument path → result path or position.

    Raises:
        InputError: A pair names an argument or a result that forward does not have.
        UnsupportedModelError: A pair is of two shapes.
    """
    slots = [
        Slot(
            node,
            node.attributes["call"].as_int(),
            index,
            1 + index,
            index if node.op_type.endswith("_cell") else 1 + index,
            len(node.inputs) - 1,
        )
        for node in recurrent_calls(model.graph)
        for index in range(2 if node.op_type.startswith("lstm") else 1)
    ]
    return make_ports(model.graph, slots, calls, pairs)


def make_ports(
    graph: ir.Graph, slots: Sequence[Slot], calls: Sequence[Call], pairs: Mapping[str, str | int]
) -> tuple[StatePort, ...]:
    """Make the states in `slots` ports, in place; see `find_states`."""
    named = _Names(len({slot.call for slot in slots}))
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


def recognised_states(example: Example, run: Run) -> dict[str, str]:
    """Pair arguments and results of a step without recurrent calls, where shapes leave one choice.

    Returns:
        Path of an argument → path of the result that goes back in there.
    """
    floats = {
        leaf.path: leaf.tensor.shape for leaf in example.leaves if leaf.tensor.is_floating_point()
    }
    fits = {
        path: [result for result, tensor in run.results.items() if tensor.shape == shape]
        for path, shape in floats.items()
    }
    pairs = {path: found[0] for path, found in fits.items() if len(found) == 1}
    alone = len(set(pairs.values())) == len(pairs) < len(example.leaves)
    if alone and all(len(found) < 2 for found in fits.values()):
        return pairs
    return _same_structure(example, run)


def _same_structure(example: Example, run: Run) -> dict[str, str]:
    """Pair an argument of several tensors with the one part of the result that is built alike."""
    pairs: dict[str, str] = {}
    for name, argument in example.kwargs.items():
        shapes = {path: tensor.shape for path, tensor in leaves(argument)}
        if len(shapes) < 2:
            continue
        parts = {path[: -len(end)] for path in run.results for end in shapes if path.endswith(end)}
        alike = [
            part
            for part in parts
            if shapes
            == {
                path.removeprefix(part): tensor.shape
                for path, tensor in run.results.items()
                if path.startswith(part)
            }
        ]
        if len(alike) == 1:
            pairs |= {name + path: alike[0] + path for path in shapes}
    return pairs


class _Names:
    """The contract's names for states: `h` and `c`, behind the path of a layer among several.

    Nodes that say in their metadata of which `scope` they are, are one layer if it is the same.
    """

    def __init__(self, calls: int) -> None:
        self._several = calls > 1
        self._taken: set[str] = set()

    def of_slot(self, slot: Slot) -> str:
        letter = "hc"[slot.index]
        layer = slot.node.metadata_props["layer"]
        return self.unique(f"{layer}_{letter}" if self._several else letter)

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
        return self.unique("hc"[index] if len(stack) == len(slots) else f"{scope}_{'hc'[index]}")

    def unique(self, name: str) -> str:
        name = re.sub(r"\W+", "_", name).strip("_")
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _argument_states(
    graph: ir.Graph, slots: Sequence[Slot], named: _Names, pairs: Mapping[str, str | int]
) -> list[StatePort]:
    """Pair the arguments that hold states with the results that hold their next values."""
    known = [port.name or "" for port in graph.inputs]
    for path in pairs:
        if path not in known:
            listed = ", ".join(f"`{name}`" for name in known)
            raise InputError(f"`{path}` is not an input of the model; it has {listed}.")
    states: list[StatePort] = []
    for port in list(graph.inputs):
        path = port.name or ""
        fed = [slot for slot in slots if port in moved_from(slot.before)]
        if path not in pairs and port.dtype is not None and port.dtype.is_floating_point():
            fed = fed or _reached(graph, port, slots)
        only = fed[0] if len(fed) == 1 else None
        own = only if only and _same_value(only.before, port) else None
        whole = only if only and _same_value(only.before, port, _RESHAPES) else None
        last = None if own is None else _chain_end(own, slots)
        after = _next_value(graph, port, fed, slots, pairs)
        if after is None:
            after = _changed(graph, port, fed, slots)
        if after is None and last is not None:
            after = last.after
            graph.outputs.append(after)
        if after is None:
            continue
        _check_pair(port, after)
        states.append(
            StatePort(
                named.of_port(path, result_path(after) or "", fed, slots, whole),
                path,
                result_path(after),
                fed[0].call if fed else None,
                None if last is None else last.call,
                0 if whole is None else whole.index,
            )
        )
        _rename(port, after, states[-1])
    return states


def _next_value(
    graph: ir.Graph,
    port: ir.Value,
    fed: Sequence[Slot],
    slots: Sequence[Slot],
    pairs: Mapping[str, str | int],
) -> ir.Value | None:
    """Return the result that goes back into argument `port`, or None where none does."""
    if port.name in pairs:
        return _result_at(graph, pairs[port.name or ""])
    if not fed or port.dtype is None or not port.dtype.is_floating_point():
        return None
    return _returned(graph, port, fed, slots)


def _own_states(
    graph: ir.Graph, slots: Sequence[Slot], named: _Names, calls: Sequence[Call]
) -> list[StatePort]:
    """Turn the states that forward makes itself into ports."""
    states: list[StatePort] = []
    for slot in slots:
        if reads_data(slot.before) or slot.before.is_graph_input() or not _is_per_sequence(slot):
            continue
        last = _chain_end(slot, slots)
        name = named.of_slot(slot)
        own = slot.before
        before = ir.Value(name=f"{name}_in", type=own.type, shape=ir.Shape(slot.after.shape or ()))
        slot.node.replace_input_with(slot.place, before)
        graph.inputs.append(before)
        after = last.after
        result = result_path(after)
        if not after.is_graph_output():
            graph.outputs.append(after)
        initial = _initial(calls[slot.call], slot.index, own, before)
        state = StatePort(name, None, result, slot.call, last.call, slot.index, initial)
        _rename(before, after, state)
        states.append(state)
    return states


def _is_per_sequence(slot: Slot) -> bool:
    """Return whether a call has one state for each sequence of the batch.

    A layer over the characters of every word, or over every frame of every sequence, runs
    batch*sequence of its own: what it leaves is nothing to go on from.
    """
    axis = 0 if slot.node.op_type.endswith("_cell") else 1
    batch = BATCH if slot.after.shape is None else slot.after.shape[axis]
    return isinstance(batch, int) or str(batch) == BATCH


def _initial(
    call: Call, index: int, before: ir.Value, port: ir.Value
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
    batch_axis = 0 if call.is_cell else 1
    first = value.take([0], batch_axis)
    shape = port.shape
    dynamic = shape is None or not isinstance(shape[batch_axis], int)
    if dynamic and not np.array_equal(np.broadcast_to(first, value.shape), value):
        raise UnsupportedModelError(
            f"`{port.name}` starts from a learned value of its own for each of "
            f"{value.shape[batch_axis]} sequences. Give the batch as a number: "
            '--input "x:float32[1,sequence,40]".'
        )
    return first if dynamic else value


def _returned(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot]
) -> ir.Value | None:
    """Return the result that holds the next value of the states that argument `port` feeds."""
    wanted = {_chain_end(slot, slots).after for slot in fed}
    finals = {slot.after for slot in slots}
    found = [
        result
        for result in graph.outputs
        if set(moved_from(result)) & finals == wanted and result.shape == port.shape
    ]
    return found[-1] if found else None


def _changed(
    graph: ir.Graph, port: ir.Value, fed: Sequence[Slot], slots: Sequence[Slot]
) -> ir.Value | None:
    """Return the result that is computed from the next values of the states that `port` feeds.

    Such a state is changed behind its cell, by zoneout or a norm. A result that stands alone is the
    output, whatever its shape.

    Raises:
        UnsupportedModelError: Several results may be it.
    """
    finals = {slot.after for slot in slots}
    nexts = {_chain_end(slot, slots).after for slot in fed}
    found = [
        result
        for result in graph.outputs
        if result.shape == port.shape
        and not finals & set(moved_from(result))
        and nexts & values_behind(result)
    ]
    if len(found) > 1:
        results = ", ".join(f"`{result_path(result)}`" for result in found)
        raise UnsupportedModelError(
            f"The next value of `{port.name}` may be each of {results} in what forward returns. "
            f"Say which: --state {port.name}=OUTPUT."
        )
    return found[0] if found and len(graph.outputs) > 1 else None


def _reached(graph: ir.Graph, port: ir.Value, slots: Sequence[Slot]) -> list[Slot]:
    """Return the states that are computed from argument `port` and no other of their shape.

    So is a state that a mask wipes where an episode ends.
    """
    return [
        slot
        for slot in slots
        if port.shape is not None
        and port.shape == slot.after.shape
        and [read for read in read_from(slot.before) if read.shape == port.shape] == [port]
    ]


def _chain_end(slot: Slot, slots: Sequence[Slot]) -> Slot:
    """Follow calls of the same layer, each started from the state the last one left."""
    for later in slots:
        if (
            later.call > slot.call
            and later.index == slot.index
            and later.node.inputs[later.weights] is slot.node.inputs[slot.weights]
            and _same_value(later.before, slot.after)
        ):
            return _chain_end(later, slots)
    return slot


def _same_value(value: ir.Value, source: ir.Value, through: Sequence[str] = ("Identity",)) -> bool:
    """Return whether `value` is `source`, or made from it by operators of `through` alone."""
    while value is not source:
        node = value.producer()
        if node is None or node.op_type not in through or node.inputs[0] is None:
            return False
        value = node.inputs[0]
    return True


def _result_at(graph: ir.Graph, place: str | int) -> ir.Value:
    paths = [result_path(result) or "" for result in graph.outputs]
    wanted = f"[{place}]" if str(place).isdigit() else str(place)
    for path, result in zip(paths, graph.outputs, strict=True):
        if (wanted, paths) == ("[0]", [""]) or place == path or wanted in (
            path,
            path.lstrip("."),
            path.strip('[]"'),
        ):
            return result
    known = ", ".join(f"`{path}`" for path in paths if path) or "one tensor, `0`"
    raise InputError(f"`{place}` is not in what forward returns; it returns {known}.")


def _check_pair(before: ir.Value, after: ir.Value) -> None:
    if before.shape != after.shape or before.dtype != after.dtype:
        raise UnsupportedModelError(
            f"State `{before.name}` goes in as {before.dtype}{before.shape} and comes out as "
            f"{after.dtype}{after.shape}; the next step needs the shape it had."
        )


def _rename(before: ir.Value, after: ir.Value, state: StatePort) -> None:
    before.name = state.input
    after.name = state.output


def _layer_path(node: ir.Node) -> str:
    """Return the module path of the layer that a call belongs to, from its weights' names."""
    states = 2 if node.op_type.startswith("lstm") else 1
    for value in node.inputs[1 + states :]:
        name = (value.name if value is not None else None) or ""
        path = name.removeprefix("module.").rpartition(".")[0]
        if name.startswith("module.") and path:
            return path.partition(".parametrizations")[0]
    return node.op_type.removesuffix("_cell")
