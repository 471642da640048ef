"""Recurrent calls and loops in a graph as `trace` leaves it: one node of domain `torch` for each.

torch::lstm(x, h, c, *weights)        → y, h, c      a layer
torch::lstm(…, lengths)               → y, h, c      a layer on packed sequences
torch::lstm_cell(x, h, c, *weights)   → h, c         a cell
torch::loop(*sequences, *states, *constants) → *states, *collected
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.ir.dataflow import input_dependencies
from edgernn.export.ir.operator_kinds import LOOP, TORCH
from edgernn.export.ir.recurrent_operators import CELL_FUNCTIONS, FUNCTIONS, RecurrentKind

__all__ = [
    "StateLabel",
    "call_nodes",
    "is_cell",
    "kind_of_call",
    "length_ports",
    "row_axis",
    "runs_along_sequence",
    "state_places",
    "weights_of",
]

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)


class StateLabel(NamedTuple):
    """The layer in a loop whose state it is, or empty, and its name in the layer or the loop."""

    layer: str
    name: str


def call_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes of recurrent calls and loops, in the order of the graph."""
    names = (*FUNCTIONS, LOOP)
    return [node for node in graph if node.domain == TORCH and node.op_type in names]


def kind_of_call(node: ir.Node) -> RecurrentKind:
    """Return the kind of the layer or cell that is called."""
    return FUNCTIONS[node.op_type]


def is_cell(node: ir.Node) -> bool:
    """Return whether a node is one step of a cell."""
    return node.op_type in CELL_FUNCTIONS


def state_places(node: ir.Node) -> list[tuple[int, int]]:
    """Return the input and the output of each state of a call or a loop."""
    if node.op_type == LOOP:
        first = node.attributes["sequences"].as_int()
        return [(first + index, index) for index in range(node.attributes["states"].as_int())]
    first = 0 if is_cell(node) else 1
    return [(1 + index, first + index) for index in range(len(kind_of_call(node).states))]


def weights_of(node: ir.Node) -> Sequence[ir.Value | None]:
    """Return the weights of a call of a layer or cell, in torch's order."""
    packed = node.attributes.get_int("packed", 0)
    return node.inputs[1 + len(kind_of_call(node).states) : len(node.inputs) - packed]


def length_ports(graph: ir.Graph) -> list[str]:
    """Return the names of the inputs that the lengths of packed sequences are computed from."""
    packed = [node for node in call_nodes(graph) if node.attributes.get_int("packed", 0)]
    lengths = [value for node in packed if (value := node.inputs[-1]) is not None]
    sources = [source for value in lengths for source in input_dependencies(value)]
    vectors = [one for one in sources if one.dtype in _INTEGERS and len(one.shape or ()) == 1]
    return list(dict.fromkeys(one.name or "" for one in vectors))


def row_axis(node: ir.Node) -> int | None:
    """Return the axis of a call's states that has a row for every sequence; None of a loop."""
    if node.op_type == LOOP:
        return None
    return 0 if is_cell(node) else 1


def runs_along_sequence(node: ir.Node) -> bool:
    """Return whether the steps of a layer are the sequence, or may be; those of a loop may.

    The node is a call, or an operator of ONNX.
    """
    x = node.inputs[0]
    if node.op_type == LOOP or is_cell(node) or x is None or x.shape is None:
        return True
    size = x.shape[node.attributes.get_int("batch_first", 0)]
    return isinstance(size, ir.SymbolicDim) and (size.value is None or SEQUENCE in size.value)
