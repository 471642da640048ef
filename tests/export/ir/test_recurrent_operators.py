"""The rules for the table of recurrent operators."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgernn.export.ir import recurrent_operators
from edgernn.export.ir.recurrent_operators import (
    KINDS,
    LSTM,
    OPERATORS,
    Input,
    activations_of,
    direction_of,
    directions_of,
    input_of,
    is_recurrent,
    kind_of,
    recurrent_nodes,
)

ROOT = Path(__file__).parents[3]


def node(op_type: str, domain: str = "", count: int = 3, **attributes: str) -> ir.Node:
    values = [ir.Value(name=name) for name in "xwrbsh"[:count]]
    return ir.Node(domain, op_type, values, ir.convenience.convert_attributes(attributes))


@pytest.mark.parametrize("operator", OPERATORS)
def test_inputs_are_those_of_onnx(operator):
    """The inputs have the names and places that ONNX gives them, states in their order."""
    names = [one.name for one in onnx.defs.get_schema(operator, 14).inputs]
    assert (
        names
        == [place.name if len(place.name) == 1 else place.name.lower() for place in Input][
            : len(names)
        ]
    )
    states = [f"initial_{state}" for state in OPERATORS[operator].states]
    assert [names[place] for place in OPERATORS[operator].initial_states] == states


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.function)
def test_functions_and_weights_are_those_of_torch(kind):
    """Torch has a layer, a cell and a module of each kind, its weights a block for each gate."""
    assert callable(getattr(torch, kind.function))
    assert callable(getattr(torch, kind.cell_function))
    layer = getattr(nn, kind.operator)(3, 5)
    assert layer.weight_ih_l0.shape == (len(kind.torch_gates) * 5, 3)


@pytest.mark.parametrize(
    ("kind", "order"), [(LSTM, [0, 3, 1, 2]), (OPERATORS["GRU"], [1, 0, 2])], ids=["lstm", "gru"]
)
def test_gates_move_from_torchs_order_to_onnxs(kind, order):
    """Blocks of rows move whole: torch's gates, each at its place in ONNX's W."""
    rows = np.repeat(np.arange(len(order), dtype=np.float32), 2)[:, None]
    assert kind.to_onnx_order(rows)[::2, 0].tolist() == order


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.function)
def test_gates_and_states_are_named_once(kind):
    """Both orders have the same gates; what keeps a state still are gates and a state of it."""
    assert sorted(kind.torch_gates) == sorted(kind.onnx_gates)
    assert set(kind.still_gates) <= set(kind.onnx_gates)
    assert bool(kind.still_gates) == bool(kind.still_numbers) == (kind.kept_state in kind.states)


def test_the_operator_is_told_its_activation_only_where_it_has_a_choice():
    """An RNN names tanh or relu for each direction; an LSTM has ONNX's default."""
    assert OPERATORS["RNN"].torch_attributes(2) == {"activations": ["Tanh", "Tanh"]}
    assert LSTM.torch_attributes(2) == {}
    assert activations_of("RNN") == [("Tanh",), ("Relu",)]


def test_recurrent_nodes_are_onnxs_and_the_projected_lstm():
    """A node of another domain is not one, whatever its name."""
    nodes = [node("LSTM"), node("LSTM", "edgernn"), node("LSTM", "com.example"), node("Gemm")]
    graph = ir.Graph([], [], nodes=nodes)
    assert recurrent_nodes(graph) == nodes[:2]
    assert [is_recurrent(one) for one in nodes] == [True, True, False, False]
    assert kind_of(nodes[1]) is LSTM


def test_what_a_node_leaves_out_has_its_default():
    """Without the attribute a node runs forward; an input beyond the last one is not there."""
    assert direction_of(node("GRU")) == "forward"
    assert directions_of(node("GRU", direction="bidirectional")) == (False, True)
    assert directions_of(node("GRU", direction="reverse")) == (True,)
    gru = node("GRU")
    assert input_of(gru, Input.R) is gru.inputs[2]
    assert input_of(node("GRU"), Input.B) is None


def test_no_other_file_names_the_order_of_gates():
    """The order of gates is in this table alone, so that no second copy can differ from it."""
    orders = {order for kind in KINDS for order in (kind.torch_gates, kind.onnx_gates)}
    written = "|".join(r"[\W_]*".join(order) for order in orders if len(order) > 1)
    table = Path(recurrent_operators.__file__).resolve()
    parts = ("edgernn", "export", "runtime")
    files = [path for part in parts for path in ROOT.glob(f"{part}/**/*.py")]
    assert [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in files
        if path.resolve() != table
        and (found := re.search(rf"\b({written})\b", path.read_text(encoding="utf-8")))
    ] == []
