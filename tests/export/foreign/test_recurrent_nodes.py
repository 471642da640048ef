"""Recurrent nodes as anybody may write them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.foreign.recurrent_nodes import (
    check_nodes,
    check_weights,
    name_finals,
    sequence_lens_inputs,
)
from tests.nets.onnx_files import port, recurrent, weights, write


def read(
    folder, *nodes: Any, inputs: Any = (), constants: Mapping[str, Any] = MappingProxyType({})
) -> ir.Model:
    """Return a model of the nodes with the weights of an LSTM."""
    ports = [port("x", ["T", "B", 2]), *inputs]
    return ir.load(write(folder / "m.onnx", nodes, {**weights("LSTM"), **constants}, ports))


def test_nodes_get_all_inputs_and_outputs(tmp_path):
    """Final states that the file left out have names; those that it has keep theirs."""
    model = read(tmp_path, recurrent("LSTM", outputs=("y", "h_end")))
    name_finals(model.graph)
    (node,) = model.graph
    assert len(node.inputs) == 7
    assert [value.name for value in node.outputs] == ["y", "h_end", "rec_left_out_c"]


def test_lengths_are_found_through_what_keeps_their_numbers(tmp_path):
    """An input that is `sequence_lens` itself is told from one that lengths are computed from."""
    lengths = port("lengths", ["B"], 6)
    given = recurrent("LSTM", ("x", "W", "R", "B", "lengths"))
    assert sequence_lens_inputs(read(tmp_path, given, inputs=[lengths]).graph) == (["lengths"], [])
    mask = port("mask", ["T", "B"], 6)
    computed = [
        onnx.helper.make_node("ReduceSum", ["mask", "zero"], ["n"], keepdims=0),
        recurrent("LSTM", ("x", "W", "R", "B", "n")),
    ]
    model = read(tmp_path, *computed, inputs=[mask], constants={"zero": np.array([0])})
    assert sequence_lens_inputs(model.graph) == ([], ["mask"])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"clip": 3.0},
            "LSTM `rec` in `m` has clip=3, which several runtimes ignore. Export the model without "
            "clipping.",
        ),
        (
            {"input_forget": 1},
            "LSTM `rec` in `m` has input_forget=1, which couples two gates and which several "
            "runtimes ignore. Export the model with both gates.",
        ),
        (
            {"activations": ["Sigmoid", "Relu", "Tanh"]},
            "LSTM `rec` in `m` has the activations Sigmoid, Relu, Tanh; sigmoid, tanh, tanh was "
            "expected. Train or export the model with the default activations.",
        ),
    ],
)
def test_forms_that_runtimes_ignore_are_refused(tmp_path, attributes, message):
    """By name, with the remedy."""
    with pytest.raises(UnsupportedModelError) as caught:
        check_nodes(read(tmp_path, recurrent("LSTM", **attributes)), "`m`")
    assert str(caught.value) == message


def test_weights_from_the_inputs_are_refused(tmp_path):
    """A layer whose weights change from call to call has no step graph."""
    model = read(tmp_path, recurrent("LSTM", ("x", "w", "R", "B")), inputs=[port("w", [1, 12, 2])])
    check_nodes(model, "`m`")
    with pytest.raises(UnsupportedModelError) as caught:
        check_weights(model, "`m`")
    assert str(caught.value) == (
        "LSTM `rec` in `m` has weights W that the graph computes from its inputs; constants were "
        "expected. A layer whose weights change from call to call has no step graph."
    )
