"""The states of recurrent calls in a graph, and the names of their layers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.call_nodes import call_nodes, kind_of_call, state_places, weights_of
from edgernn.export.ir.private_operators import LOOP
from edgernn.export.ir.recurrent_operators import STATES

__all__ = [
    "Slot",
    "StatePort",
    "chain_end",
    "chain_length",
    "name_layers",
    "same_value",
    "state_slots",
]


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
        free: Whether it may be anything, as h and c of a layer may. What else a model remembers,
            such as a running power, has values that it never takes.
        told_by: What tells that the result is the next value of the argument, where it is neither
            the user nor that a recurrent call leaves the one and takes the other.
    """

    name: str
    argument: str | None
    result: str | None
    call: int | None
    last_call: int | None
    index: int = 0
    initial: NDArray[np.float32] | None = None
    free: bool = False
    told_by: str | None = None

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
        index: 0 for h, 1 for c; of a loop the place among its states.
        place: The input of the node that takes the initial state.
        result: The output that holds the final state.
        weights: The input that tells whose layer it is; None where the node is a layer of its own.
        label: Of a loop, the layer whose state it is, if it is one's, and what it is called there.
    """

    node: ir.Node
    call: int
    index: int
    place: int
    result: int
    weights: int | None
    label: tuple[str, str] | None = None

    @property
    def layer(self) -> str:
        """The name of the layer."""
        own = self.label[0] if self.label else ""
        return own or str(self.node.metadata_props["layer"])

    @property
    def is_layers(self) -> bool:
        """Whether it is h or c of a layer or cell, not something else that a loop carries."""
        return self.node.op_type != LOOP or bool(self.label and self.label[0])

    @property
    def name(self) -> str:
        """What the state is called in its layer."""
        return self.label[1] if self.label else STATES[self.index]

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


def state_slots(
    graph: ir.Graph, labels: Mapping[int, Sequence[tuple[str, str]]] = MappingProxyType({})
) -> list[Slot]:
    """Return the states of the recurrent calls in a graph.

    Args:
        graph: A graph as `trace` leaves it.
        labels: SourceLine of the call of a loop → for each of its states its `Slot.label`.
    """
    return [slot for node in call_nodes(graph) for slot in _slots(node, labels)]


def _slots(node: ir.Node, labels: Mapping[int, Sequence[tuple[str, str]]]) -> Iterator[Slot]:
    call = node.attributes["call"].as_int()
    weights = None if node.op_type == LOOP else len(node.inputs) - 1
    for index, (place, result) in enumerate(state_places(node)):
        label = labels[call][index] if node.op_type == LOOP else None
        yield Slot(node, call, index, place, result, weights, label)


def name_layers(*models: ir.Model) -> None:
    """Write into every recurrent call's metadata its layer's path, dots as underscores.

    Args:
        models: The graphs of one model as `trace` leaves them; a path is unique among all.
    """
    counts = Counter[str]()
    for node in itertools.chain(*(call_nodes(model.graph) for model in models)):
        path = _layer_path(node).replace(".", "_")
        counts[path] += 1
        node.metadata_props["layer"] = path if counts[path] == 1 else f"{path}_{counts[path]}"


def chain_end(slot: Slot, slots: Sequence[Slot]) -> Slot:
    """Follow calls of the same layer, each started from the state the last one left."""
    for later in slots:
        if (
            slot.weights is not None
            and later.weights is not None
            and later.call > slot.call
            and later.index == slot.index
            and later.node.inputs[later.weights] is slot.node.inputs[slot.weights]
            and same_value(later.before, slot.after)
        ):
            return chain_end(later, slots)
    return slot


def chain_length(slot: Slot, slots: Sequence[Slot]) -> int:
    """Return how many calls of the same layer there are in a row from `slot` on."""
    end = chain_end(slot, slots)
    calls = {one.call for one in slots if slot.call <= one.call <= end.call}
    alike = [one for one in slots if one.call in calls and one.index == slot.index]
    return sum(
        one.weights is not None
        and slot.weights is not None
        and one.node.inputs[one.weights] is slot.node.inputs[slot.weights]
        for one in alike
    )


def same_value(value: ir.Value, source: ir.Value, through: Collection[str] = ("Identity",)) -> bool:
    """Return whether `value` is `source`, or made from it by operators of `through` alone."""
    while value is not source:
        node = value.producer()
        if node is None or node.op_type not in through or node.inputs[0] is None:
            return False
        value = node.inputs[0]
    return True


def _layer_path(node: ir.Node) -> str:
    """Return the module path of the layer that a call belongs to, from its weights' names."""
    if node.op_type == LOOP:
        return LOOP
    for value in weights_of(node):
        name = (value.name if value is not None else None) or ""
        path = name.removeprefix("module.").rpartition(".")[0]
        if name.startswith("module.") and path:
            return path.partition(".parametrizations")[0]
    return kind_of_call(node).function
