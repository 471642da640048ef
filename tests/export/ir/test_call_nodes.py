"""The rules for recurrent calls as nodes."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.ir.call_nodes import (
    call_nodes,
    is_cell,
    kind_of_call,
    length_ports,
    row_axis,
    runs_along_sequence,
    state_places,
    weights_of,
)


def call(function: str, *inputs: str, **attributes: int) -> ir.Node:
    values = [ir.Value(name=name) for name in inputs]
    return ir.Node("torch", function, values, ir.convenience.convert_attributes(attributes))


LAYER = call("lstm", "x", "h", "c", "w_ih", "w_hh", packed=0)
PACKED = call("gru", "x", "h", "w_ih", "w_hh", "lengths", packed=1)
CELL = call("rnn_relu_cell", "x", "h", "w_ih", "w_hh")
LOOP = call("loop", "x", "x2", "h", "k", sequences=2, states=1)


def test_calls_and_loops_are_found_in_order():
    """Other nodes of the domain, such as the padding of a packed sequence, are not calls."""
    pad = call("pad_packed_sequence", "y", "lengths")
    nodes = [LAYER, pad, PACKED, CELL, LOOP]
    assert call_nodes(ir.Graph([], [], nodes=nodes)) == [LAYER, PACKED, CELL, LOOP]


@pytest.mark.parametrize(
    ("node", "places"),
    [(LAYER, [(1, 1), (2, 2)]), (PACKED, [(1, 1)]), (CELL, [(1, 0)]), (LOOP, [(2, 0)])],
    ids=["layer", "packed", "cell", "loop"],
)
def test_states_have_their_places(node, places):
    """A layer gives its output before its states; a cell and a loop give states first."""
    assert state_places(node) == places


def test_weights_follow_the_states_and_end_before_lengths():
    """The lengths of packed sequences are not weights."""
    for node in (LAYER, PACKED, CELL):
        names = [value.name for value in weights_of(node) if value is not None]
        assert names == ["w_ih", "w_hh"]


def test_a_cell_is_told_from_a_layer_of_its_kind():
    """Both have the same kind."""
    assert (is_cell(CELL), is_cell(LAYER)) == (True, False)
    assert kind_of_call(CELL).function == "rnn_relu"


def test_lengths_are_traced_to_the_input():
    """The input of integers that lengths are computed from is found, a mask of floats is not."""
    lengths = ir.val("lengths", ir.DataType.INT64, ["batch"])
    cast = ir.node("Cast", [lengths], {"to": ir.DataType.INT64})
    packed = ir.Node(
        "torch",
        "gru",
        [ir.Value(name=name) for name in ("x", "h", "w_ih", "w_hh")] + [cast.outputs[0]],
        ir.convenience.convert_attributes({"packed": 1}),
    )
    graph = ir.Graph([lengths], [], nodes=[cast, packed])
    assert length_ports(graph) == ["lengths"]


@pytest.mark.parametrize(("node", "axis"), [(LAYER, 1), (PACKED, 1), (CELL, 0), (LOOP, None)])
def test_states_have_a_row_for_every_sequence(node, axis):
    """A layer stacks its layers in front of the rows; the states of a loop have any shape."""
    assert row_axis(node) == axis


@pytest.mark.parametrize(
    ("shape", "batch_first", "along"),
    [
        (("batch", "sequence", 4), 1, True),
        (("sequence", "batch", 4), 0, True),
        (("batch", "sequence*2", 4), 1, True),
        (("batch*sequence", 33, 4), 1, False),
        ((33, "batch*sequence", 4), 0, False),
        (("batch*sequence", "bins", 4), 1, False),
        (("batch", None, 4), 1, True),
        (None, 1, True),
    ],
)
def test_a_layer_runs_along_the_sequence_or_another_axis(shape, batch_first, along):
    """Where its steps are not known, they may be the sequence."""
    node = call("gru", "x", "h", "w_ih", "w_hh", packed=0, batch_first=batch_first)
    x = node.inputs[0]
    assert x is not None
    x.shape = None if shape is None else ir.Shape(shape)
    assert runs_along_sequence(node) is along
    assert runs_along_sequence(CELL)
    assert runs_along_sequence(LOOP)
