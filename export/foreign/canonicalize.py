"""Recurrent nodes of files, brought into the canonical form, which every runtime takes.

It has a bias and all outputs, but no `layout`, no default activations, no `sequence_lens` and no
direction `reverse`:

    LSTM(X, W, R; direction=reverse)  →  Reverse → LSTM(X, W, R, B, , h, c; ) → Reverse
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.ir.dataflow import depends_on_data
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.recurrent_operators import (
    Input,
    activations_of,
    direction_of,
    directions_of,
    input_of,
    kind_of,
    recurrent_nodes,
)
from edgernn.export.lower.sequence_mask import SequenceEnds, split_directions

__all__ = [
    "canonical_attributes",
    "canonicalize_nodes",
    "fold_fills",
    "remove_layout",
    "remove_lengths",
    "split_stacked_states",
]

Array = NDArray[np.float32]

_LARGEST_FILL = 1 << 16
"""Up to how many elements a fill is written as a constant."""


def remove_layout(model: ir.Model) -> tuple[str, str] | None:
    """Write `layout=1` as transposes, in place: ONNX Runtime does not load it.

    Returns:
        The change and a note, as `to_float32` returns them; None where no node has this layout.
    """
    found = [n for n in recurrent_nodes(model.graph) if n.attributes.get_int("layout", 0) == 1]
    names = ", ".join(f"`{node_label(node)}`" for node in found)
    for node in found:
        _remove_layout(model.graph, node)
    note = f"layout=1 of {names} is written as transposes: ONNX Runtime does not load it."
    return ("its layout=1 written as transposes", note) if found else None


def _remove_layout(graph: ir.Graph, node: ir.Node) -> None:
    """Transpose x (B, T, I), h and c (B, D, H) and y (B, T, D, H) to sequence first."""
    before, after = Tape(), Tape()
    node.attributes.pop("layout")
    for place in (Input.X, *kind_of(node).initial_states):
        value = input_of(node, place)
        if value is not None:
            node.replace_input_with(place, before.op("Transpose", [value], {"perm": [1, 0, 2]}))
    graph.insert_before(node, before.nodes)
    for output, perm in zip(node.outputs, ([2, 0, 1, 3], [1, 0, 2], [1, 0, 2]), strict=False):
        if not output.name:
            continue
        _put_after(output, after.op("Transpose", [output], {"perm": perm}), "sequence_first")
        output.shape = None
    graph.insert_after(node, after.nodes)


def _put_after(value: ir.Value, changed: ir.Value, suffix: str) -> None:
    """Let a value that is computed from `value` have its name, type, shape and uses."""
    changed.type, changed.shape = value.type, value.shape
    ir.convenience.replace_all_uses_with(value, changed, replace_graph_outputs=True)
    node = changed.producer()
    assert node is not None
    node.replace_input_with(0, value)
    changed.name, value.name = value.name, f"{value.name}_{suffix}"


def split_stacked_states(model: ir.Model, stacks: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """Split the inputs that hold the states of several nodes into one state per node, in place.

    `stacks` are by the name of an input: the place of each node, and which of its states it is.
    """
    nodes = recurrent_nodes(model.graph)
    for value in list(model.graph.inputs):
        stack = stacks.get(value.name or "", ())
        if not stack:
            continue
        directions = [len(directions_of(nodes[at])) for at, _ in stack]
        tape = Tape()
        sizes = tape.initializer(ir.tensor(np.array(directions)), name=f"{value.name}_sizes")
        parts = tape.op_multi_out("Split", [value, sizes], {"axis": 0}, num_outputs=len(stack))
        model.graph.register_initializer(sizes)
        model.graph.insert_before(model.graph[0], tape.nodes)
        for part, (at, index) in zip(parts, stack, strict=True):
            part.type = value.type
            nodes[at].replace_input_with(Input.INITIAL_H + index, part)


def fold_fills(model: ir.Model) -> None:
    """Replace each ConstantOfShape of a constant shape by a constant, in place.

    The optimizer keeps it, and everything that is computed from it, to save space.
    """
    for node in [node for node in model.graph if node.op_type == "ConstantOfShape"]:
        shape = constant_of(node.inputs[0])
        if shape is None or int(np.prod(shape)) > _LARGEST_FILL:
            continue
        value = node.attributes.get("value")
        number = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
        filled = np.full([int(size) for size in shape], number.item(), number.dtype)
        old = node.outputs[0]
        constant = NodeBuilder(model.graph).constant(f"{old.name}_filled", filled)
        ir.convenience.replace_all_uses_with(old, constant, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)


def canonicalize_nodes(model: ir.Model, lengths: bool) -> None:
    """Bring every recurrent node into the canonical form, in place.

    Its weights must be constants, its states given, and constant lengths those of whole sequences.
    With `lengths`, sequences end at lengths that are an input; else every step counts.
    """
    for node in recurrent_nodes(model.graph):
        w, r = constant_of(node.inputs[Input.W]), constant_of(node.inputs[Input.R])
        assert w is not None
        assert r is not None
        if input_of(node, Input.B) is None:
            zeros = np.zeros((len(w), 2 * w.shape[1]), w.dtype)
            bias = NodeBuilder(model.graph).constant(f"{node_label(node)}_B", zeros)
            node.replace_input_with(Input.B, bias)
        ends = input_of(node, Input.SEQUENCE_LENS)
        if lengths and ends is not None and depends_on_data(ends):
            remove_lengths(model.graph, node)
            continue
        node.replace_input_with(Input.SEQUENCE_LENS, None)
        node.resize_inputs(1 + kind_of(node).initial_states[-1])
        if direction_of(node) == "reverse":
            _reverse(model.graph, node)
        attributes = canonical_attributes(node, r.shape[-1], range(len(w)))
        node.attributes.clear()
        node.attributes.update({a.name: a for a in ir.convenience.convert_attributes(attributes)})


def canonical_attributes(
    node: ir.Node, hidden_size: int, parts: Sequence[int]
) -> dict[str, int | str | list[str]]:
    """Return the attributes of a node that runs some of the directions of another one.

    `parts` are the places of these directions among those of `node`; an only one runs forward.
    """
    kind = kind_of(node)
    attributes: dict[str, int | str | list[str]] = {"hidden_size": hidden_size}
    if len(parts) == 2:
        attributes["direction"] = "bidirectional"
    attributes |= {name: 1 for name in kind.attributes if node.attributes.get_int(name, 0)}
    if len(activations_of(node.op_type)) > 1:
        default = [*kind.activations] * len(directions_of(node))
        names = node.attributes.get_strings("activations", default)
        attributes["activations"] = [names[part].capitalize() for part in parts]
    return attributes


def _reverse(graph: ir.Graph, node: ir.Node) -> None:
    """Run a reverse node forward over the reversed sequence."""
    before, after = Tape(), Tape()
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    node.replace_input_with(0, _reversed(before, x))
    for value in before.initializers:
        graph.register_initializer(value)
    graph.insert_before(node, before.nodes)
    if not y.uses() and not y.is_graph_output():
        return
    _put_after(y, _reversed(after, y), "reversed")
    for value in after.initializers:
        graph.register_initializer(value)
    graph.insert_after(node, after.nodes)


def _reversed(tape: Tape, value: ir.Value) -> ir.Value:
    """Return `value` with its first axis in reverse order."""
    bounds = [[-1], [-(1 << 62)], [0], [-1]]
    constants = [
        tape.initializer(ir.tensor(np.array(bound, np.int64)), name=f"{value.name}_{role}")
        for bound, role in zip(bounds, ("last", "first", "axis", "back"), strict=True)
    ]
    return tape.op("Slice", [value, *constants])


def remove_lengths(graph: ir.Graph, node: ir.Node) -> None:
    """Write a recurrent node with lengths as one forward node per direction without, in place.

    The node has constant weights, a bias, its initial states and its lengths.
    """
    masked = _MaskedNode(node)
    results = masked.results()
    for value in masked.tape.initializers:
        graph.register_initializer(value)
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], masked.tape.nodes, node.outputs, results
    )


class _MaskedNode:
    """The nodes that replace one with lengths.

    Attributes:
        tape: The nodes.
    """

    def __init__(self, node: ir.Node) -> None:
        self.tape = Tape()
        self._constants: dict[str, ir.Value] = {}
        self._node, self._kind, self._name = node, kind_of(node), node_label(node)
        x, lengths = node.inputs[Input.X], node.inputs[Input.SEQUENCE_LENS]
        assert x is not None
        assert lengths is not None
        self._x = x
        int64 = self.tape.op("Cast", [lengths], {"to": ir.DataType.INT64})
        self._ends = SequenceEnds(self.tape, x, int64, self._name)

    def results(self) -> list[ir.Value]:
        """Return Y (sequence, D, batch, H), zero after the ends, and the final states."""
        backward = directions_of(self._node)
        states = [self._node.inputs[place] for place in self._kind.initial_states]
        given = [state for state in states if state is not None]
        ones = partial(self._constant, np.array([1, 1]), f"{self._name}_directions")
        starts = split_directions(self.tape, given, len(backward), ones)
        directions = [
            self._direction(place, *direction)
            for place, direction in enumerate(zip(backward, starts, strict=True))
        ]
        axes = [1, *([0] * len(given))]
        return [
            parts[0] if len(parts) == 1 else self.tape.op("Concat", parts, {"axis": axis})
            for axis, parts in zip(axes, zip(*directions, strict=True), strict=True)
        ]

    def _direction(self, place: int, backward: bool, states: Sequence[ir.Value]) -> list[ir.Value]:
        """Write one direction; return Y (sequence, 1, batch, H) and its final states."""
        name = f"{self._name}_{place}"
        w, *others = (self._weights(one)[place : place + 1] for one in (Input.W, Input.R, Input.B))
        run = partial(self._operator, place, states, others)
        y, *after = self._ends.run_direction(self._kind, self._x, w, run, backward)
        zero = self._constant(np.zeros((), np.float32), f"{name}_zero")
        y = self.tape.op("Where", [self._ends.after_end(), zero, y])
        return [self.tape.op("Unsqueeze", [y, self._axis(name)]), *after]

    def _operator(
        self,
        place: int,
        states: Sequence[ir.Value],
        weights: Sequence[Array],
        x: ir.Value,
        w: Array,
    ) -> list[ir.Value]:
        name = f"{self._name}_{place}"
        constants = [
            self._constant(array, f"{name}_{letter}")
            for letter, array in zip("WRB", (w, *weights), strict=True)
        ]
        y, *after = self.tape.op_multi_out(
            self._node.op_type,
            [x, *constants, None, *states],
            canonical_attributes(self._node, weights[0].shape[-1], [place]),
            num_outputs=1 + len(states),
            name=name,
        )
        return [self.tape.op("Squeeze", [y, self._axis(name)]), *after]

    def _weights(self, place: int) -> Array:
        array = constant_of(self._node.inputs[place])
        assert array is not None
        return array

    def _axis(self, name: str) -> ir.Value:
        return self._constant(np.array([1]), f"{name}_axis")

    def _constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        """Return the constant of a name, made at its first use."""
        if name not in self._constants:
            tensor = ir.tensor(np.ascontiguousarray(array), name=name)
            self._constants[name] = self.tape.initializer(tensor)
        return self._constants[name]
