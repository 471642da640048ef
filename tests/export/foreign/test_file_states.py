"""The states of ONNX files that somebody else made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgernn.export.pipeline import export_model
from tests.nets.onnx_files import port, recurrent, weights, write
from tests.nets.torch_onnx import (
    Carrier,
    export,
    from_torch,
    refusal,
    shown,
)


@pytest.mark.parametrize("returned", [True, False])
def test_stacked_layers_with_one_state(tmp_path, returned):
    """The state that stacked layers take as one tensor stays one; its next value is joined."""
    x, h = torch.randn(5, 2, 6), torch.zeros(2, 2, 5)
    names = ["y", "hn", "cn"] if returned else ["y"]
    file = from_torch(
        tmp_path / "stack.onnx",
        Carrier(returned),
        (x, h, h.clone()),
        dynamo=False,
        input_names=["x", "h0", "c0"],
        output_names=names,
        dynamic_axes={"x": {0: "t", 1: "b"}, "h0": {1: "b"}, "c0": {1: "b"}},
    )
    artifact = export(file)
    assert shown(artifact) == [
        "x: float32[sequence, batch, 6]",
        "h_in: float32[2, batch, 5]",
        "c_in: float32[2, batch, 5]",
        "y: float32[sequence, batch, 5]",
        "h_out: float32[2, batch, 5]",
        "c_out: float32[2, batch, 5]",
    ]
    graph = artifact.contract.graphs["sequence"]
    assert [one.origin for one in graph.inputs] == ["x", "h0", "c0"]
    assert [one.origin for one in graph.outputs] == [*names, None, None][:3]
    assert artifact.contract.step is not None


def initial_forms() -> dict[str, tuple[list[Any], dict[str, Any], list[str]]]:
    """Return name → the nodes that make h0, the constants they need, inputs of the GRU."""
    op = helper.make_node
    size = [op("Shape", ["x"], ["s"]), op("Gather", ["s", "place"], ["b"])]
    shape = [*size, op("Concat", ["one", "b", "width"], ["to"], axis=0)]
    sizes = {"place": np.array([1]), "one": np.array([1]), "width": np.array([3])}
    named = ["x", "W", "R", "B", "", "h0"]
    learned = np.array([[[0.5, -1, 2]]], np.float32)
    return {
        "omitted": ([], {}, ["x", "W", "R", "B"]),
        "ConstantOfShape": ([*shape, op("ConstantOfShape", ["to"], ["h0"])], sizes, named),
        "Expand": (
            [*shape, op("Expand", ["zero", "to"], ["h0"])],
            {**sizes, "zero": np.zeros(1, np.float32)},
            named,
        ),
        "learned": (
            [*shape, op("Expand", ["start", "to"], ["h0"])],
            {**sizes, "start": learned},
            named,
        ),
    }


@pytest.mark.parametrize("form", initial_forms())
def test_states_that_the_file_makes_itself(tmp_path, form):
    """Omitted, zero and learned initial states become ports with their initial value."""
    nodes, constants, inputs = initial_forms()[form]
    file = write(
        tmp_path / "own.onnx", [*nodes, recurrent("GRU", inputs)], {**weights("GRU"), **constants}
    )
    artifact = export(file)
    assert shown(artifact, "step") == [
        "x: float32[batch, 2]",
        "h_in: float32[1, batch, 3]",
        "y: float32[1, batch, 3]",
        "h_out: float32[1, batch, 3]",
    ]
    initial = artifact.contract.states[0].initial
    assert (initial is not None) == (form == "learned")
    if initial is not None:
        np.testing.assert_array_equal(initial, [[[0.5, -1, 2]]])


def test_a_second_node_that_starts_from_the_first(tmp_path):
    """A state computed from the data stays inside, so that the model has no step."""
    file = write(
        tmp_path / "pair.onnx",
        [
            recurrent("LSTM", outputs=("y", "h", "c"), name="/encoder/LSTM"),
            recurrent("LSTM", ("x", "W2", "R2", "B2", "", "h", "c"), ("z",), name="/decoder/LSTM"),
        ],
        {**weights("LSTM"), **weights("LSTM", suffix="2")},
    )
    artifact = export(file)
    assert [state.name for state in artifact.contract.states] == ["encoder_h", "encoder_c"]
    (note,) = artifact.contract.notes
    assert note.startswith(
        "There is no step graph: its state cannot be carried on: in parts, the original file in "
        "ONNX Runtime gives another `z` than whole (by "
    )


def test_a_state_that_the_user_names(tmp_path):
    """A state that shapes do not tell is taken from the user, by name or place."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["next"]),
        helper.make_node("Neg", ["next"], ["out"]),
    ]
    shape: list[int | str] = ["B", 3]
    file = write(
        tmp_path / "own.onnx",
        nodes,
        {},
        [port("a", shape), port("b", shape)],
        [port("out", shape), port("next", shape)],
    )
    for states in ({"b": "next"}, {"b": 1}):
        artifact = export(file, states=states, force=True)
        assert [(s.input, s.output) for s in artifact.contract.states] == [("b_in", "b_out")]
    assert refusal(file, force=True) == (
        f"`{file}` has no recurrent state: no LSTM, GRU or RNN node that starts from a state of "
        "its own or from an input, and no input that goes in as an output comes out. If it is one "
        'step of a recurrence, name its state: states={"IN": "OUT"}. All pairs that fit: '
        'states={"a": "out"}, states={"a": "next"}, states={"b": "out"}, states={"b": "next"}.'
    )


def test_our_own_graph_again(tmp_path):
    """The sequence graph of an artifact gives the same graphs and states once more."""
    nodes, constants, inputs = initial_forms()["learned"]
    layers = [
        recurrent("GRU", inputs, ("u",), name="/first/GRU"),
        helper.make_node("Squeeze", ["u", "one"], ["v"]),
        recurrent("LSTM", ("v", "W2", "R2", "B2"), name="/second/LSTM"),
    ]
    second = weights("LSTM", suffix="2", width=3)
    file = write(
        tmp_path / "two.onnx", [*nodes, *layers], {**weights("GRU"), **constants, **second}
    )
    first = export(file)
    again = export_model(first.path / "sequence.onnx", tmp_path / "again.edgernn")
    assert [s.name for s in again.contract.states] == ["first_h", "second_h", "second_c"]
    for kind in ("sequence", "step"):
        assert shown(again, kind) == shown(first, kind)
        graphs = [onnx.load(str(one.path / f"{kind}.onnx")).graph for one in (first, again)]
        nodes_of = [[node.SerializeToString() for node in graph.node] for graph in graphs]
        weights_of = [
            {one.name: numpy_helper.to_array(one).tobytes() for one in graph.initializer}
            for graph in graphs
        ]
        assert nodes_of[0] == nodes_of[1]
        assert weights_of[0] == weights_of[1]


def test_a_cell_whose_states_are_alike(tmp_path):
    """Where shapes do not tell h from c, the refusal has the names that `states` takes."""

    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(4, 5)

        def forward(self, x, h, c):
            return self.cell(x, (h, c))

    file = from_torch(
        tmp_path / "cell.onnx",
        Cell(),
        (torch.randn(2, 4), torch.randn(2, 5), torch.randn(2, 5)),
        dynamo=False,
        input_names=["x", "h", "c"],
        output_names=["hn", "cn"],
        dynamic_axes={name: {0: "batch"} for name in "xhc"},
    )
    assert refusal(file) == (
        f"`{file}` has no recurrent state: no LSTM, GRU or RNN node that starts from a state of "
        "its own or from an input, and no input that goes in as an output comes out. If it is one "
        'step of a recurrence, name its state: states={"IN": "OUT"}. By the names it is '
        'states={"h": "hn", "c": "cn"}. All pairs that fit: states={"h": "hn"}, '
        'states={"h": "cn"}, states={"c": "hn"}, states={"c": "cn"}.'
    )
    artifact = export(file, states={"h": "hn", "c": 1})
    assert [state.name for state in artifact.contract.states] == ["h", "c"]


def test_outputs_that_a_node_leaves_out(tmp_path):
    """A node that gives its cell state alone has the other outputs in the graphs."""
    node = recurrent("LSTM", outputs=("", "", "y_c"))
    artifact = export(write(tmp_path / "c.onnx", [node], weights("LSTM")))
    assert shown(artifact)[-2:] == ["h_out: float32[1, batch, 3]", "c_out: float32[1, batch, 3]"]
