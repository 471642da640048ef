"""Recurrent nodes as anybody may write them: which are taken, and how they are made plain.

The plain form is the one that every runtime takes: `layout` absent, a bias, all outputs named,
default activations unsaid, no `sequence_lens`, no lone `reverse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from edgernn.errors import UnsupportedModelError
from edgernn.export.dataflow import reads_data
from edgernn.export.forms import all_nodes, direction_of, label
from edgernn.export.wiring import constant_of

__all__ = [
    "GATES",
    "Change",
    "check_nodes",
    "check_weights",
    "make_plain",
    "recurrent_of",
    "remove_layout",
    "states_of",
]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""The recurrent operators, and how many gates each has."""

_ACTIVATIONS = {
    "LSTM": (["sigmoid", "tanh", "tanh"],),
    "GRU": (["sigmoid", "tanh"],),
    "RNN": (["tanh"], ["relu"]),
}
_BIAS, _LENGTHS, _H, _C, _PEEPHOLES = 3, 4, 5, 6, 7


@dataclass(frozen=True)
class Change:
    """A change that a file needed before ONNX Runtime could run it.

    Attributes:
        how: In words that follow "the original file".
        note: For people.
    """

    how: str
    note: str


def recurrent_of(graph: ir.Graph) -> list[ir.Node]:
    """Return the LSTM, GRU and RNN nodes of `graph`, not of bodies in it, in its order."""
    return [node for node in graph if _is_recurrent(node)]


def states_of(node: ir.Node) -> int:
    """Return how many states a recurrent node has: h, and c of an LSTM."""
    return 2 if node.op_type == "LSTM" else 1


def check_nodes(model: ir.Model, file: str) -> None:
    """Refuse what cannot be written in the plain form, by name.

    Args:
        model: The graph as it was read.
        file: What messages call it.

    Raises:
        UnsupportedModelError: A node is of such a form.
    """
    for node in all_nodes(model):
        for what, remedy in _refusals(node):
            raise UnsupportedModelError(f"{_title(node)} in {file} {what}. {remedy}")
        for body in _bodies(node):
            if any(_is_recurrent(inner) for inner in body):
                raise UnsupportedModelError(
                    f"{_title(next(filter(_is_recurrent, body)))} in {file} stands inside the body "
                    f"of {_title(node)}, from where its state cannot become a port. Export the "
                    "model with the layer outside of it."
                )


def check_weights(model: ir.Model, file: str) -> None:
    """Refuse recurrent nodes with weights that the graph computes from its inputs.

    Raises:
        UnsupportedModelError: W, R or B of a node is no constant.
    """
    for node in recurrent_of(model.graph):
        for place, letter in enumerate("WRB", 1):
            value = _input(node, place)
            if value is not None and constant_of(value) is None:
                raise UnsupportedModelError(
                    f"{_title(node)} in {file} has weights {letter} that the graph computes from "
                    "its inputs; constants were expected. A layer whose weights change from call "
                    "to call has no step graph."
                )


def _refusals(node: ir.Node) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a node, and what to do."""
    if node.op_type == "DynamicQuantizeLSTM":
        yield "is quantized", "Export the float32 model that it was made from."
    if node.domain in ("", "ai.onnx") and node.op_type in ("Loop", "Scan"):
        yield (
            "is a recurrence written as a body of nodes, which cannot be taken apart into steps",
            "Export the model with an LSTM, GRU or RNN node, or export one step of it and name "
            "its states: --state IN=OUT.",
        )
    if not _is_recurrent(node):
        return
    if "clip" in node.attributes:
        yield (
            f"has clip={node.attributes['clip'].as_float():g}, which several runtimes ignore",
            "Export the model without clipping.",
        )
    if node.attributes.get_int("input_forget", 0):
        yield (
            "has input_forget=1, which couples two gates and which several runtimes ignore",
            "Export the model with both gates.",
        )
    named = [name.lower() for name in node.attributes.get_strings("activations", ())]
    half = named[: len(named) // (2 if direction_of(node) == "bidirectional" else 1)]
    if named and (half not in _ACTIVATIONS[node.op_type] or named not in (half, half * 2)):
        yield (
            f"has the activations {', '.join(node.attributes.get_strings('activations', ()))}; "
            f"{' or '.join(', '.join(known) for known in _ACTIVATIONS[node.op_type])} was expected",
            "Train or export the model with the default activations.",
        )
    if _matters(_input(node, _PEEPHOLES)):
        yield (
            "has peepholes (input P), which several runtimes ignore",
            "Train or export the model without them.",
        )
    lengths = _input(node, _LENGTHS)
    if lengths is not None and reads_data(lengths):
        yield (
            f"takes the lengths of its sequences from the input (sequence_lens, `{lengths.name}`), "
            "which several runtimes ignore",
            "Export the model without lengths, or export the torch model, whose packed sequences "
            "are written in operators that every runtime has.",
        )


def remove_layout(model: ir.Model) -> Change | None:
    """Write `layout=1` as transposes, in place: ONNX Runtime does not load it."""
    found = [
        node for node in recurrent_of(model.graph) if node.attributes.get_int("layout", 0) == 1
    ]
    names = ", ".join(f"`{label(node)}`" for node in found)
    for node in found:
        _remove_layout(model.graph, node)
    if not names:
        return None
    return Change(
        "its layout=1 written as transposes",
        f"layout=1 of {names} is written as transposes: ONNX Runtime does not load it.",
    )


def _remove_layout(graph: ir.Graph, node: ir.Node) -> None:
    """Batch first to sequence first: x (B, T, I), h and c (B, D, H), y (B, T, D, H)."""
    before, after = Tape(), Tape()
    node.attributes.pop("layout")
    for place in (0, _H, _C):
        value = _input(node, place)
        if value is not None:
            node.replace_input_with(place, before.op("Transpose", [value], {"perm": [1, 0, 2]}))
    graph.insert_before(node, before.nodes)
    for output, perm in zip(node.outputs, ([2, 0, 1, 3], [1, 0, 2], [1, 0, 2]), strict=False):
        if not output.name:
            continue
        moved = after.op("Transpose", [output], {"perm": perm})
        moved.type = output.type
        ir.convenience.replace_all_uses_with(output, moved, replace_graph_outputs=True)
        after.nodes[-1].replace_input_with(0, output)
        moved.name, output.name = output.name, f"{output.name}_sequence_first"
        moved.shape, output.shape = output.shape, None
    graph.insert_after(node, after.nodes)


def make_plain(model: ir.Model) -> None:
    """Bring every recurrent node into the plain form, in place.

    Its weights must be constants, its states given, its lengths full.
    """
    for node in recurrent_of(model.graph):
        node.domain = ""
        w, r = constant_of(node.inputs[1]), constant_of(node.inputs[2])
        assert w is not None
        assert r is not None
        if _input(node, _BIAS) is None:
            zeros = np.zeros((len(w), 2 * w.shape[1]), w.dtype)
            bias = ir.Value(name=f"{label(node)}_B", const_value=ir.tensor(zeros))
            bias.type, bias.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(zeros.shape)
            model.graph.register_initializer(bias)
            node.replace_input_with(_BIAS, bias)
        node.replace_input_with(_LENGTHS, None)
        node.resize_inputs(_H + states_of(node))
        if direction_of(node) == "reverse":
            _reverse(model.graph, node)
        _set_attributes(node, r.shape[-1], len(w))


def _set_attributes(node: ir.Node, hidden_size: int, directions: int) -> None:
    attributes: dict[str, int | str | list[str]] = {"hidden_size": hidden_size}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if node.attributes.get_int("linear_before_reset", 0):
        attributes["linear_before_reset"] = 1
    if node.op_type == "RNN":
        names = node.attributes.get_strings("activations", ["Tanh"] * directions)
        attributes["activations"] = [name.capitalize() for name in names]
    node.attributes.clear()
    node.attributes.update({a.name: a for a in ir.convenience.convert_attributes(attributes)})


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
    turned = _reversed(after, y)
    turned.type, turned.shape = y.type, y.shape
    ir.convenience.replace_all_uses_with(y, turned, replace_graph_outputs=True)
    after.nodes[-1].replace_input_with(0, y)
    turned.name, y.name = y.name, f"{y.name}_reversed"
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


def _is_recurrent(node: ir.Node) -> bool:
    return node.op_type in GATES and node.domain in ("", "ai.onnx")


def _input(node: ir.Node, place: int) -> ir.Value | None:
    return node.inputs[place] if place < len(node.inputs) else None


def _matters(value: ir.Value | None) -> bool:
    """Return whether peepholes are anything but constant zeros."""
    array = constant_of(value)
    return value is not None and (array is None or bool(array.any()))


def _title(node: ir.Node) -> str:
    return f"{node.op_type} `{label(node)}`"


def _bodies(node: ir.Node) -> list[ir.Graph]:
    return [
        attr.as_graph() for attr in node.attributes.values() if attr.type == ir.AttributeType.GRAPH
    ]
