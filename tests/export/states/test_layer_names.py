"""The rules for the names of layers."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.states.layer_names import name_layers, name_operator_layers


def node(op_type: str, weight: str = "", domain: str = "", name: str = "") -> ir.Node:
    values = [ir.Value(name="x"), ir.Value(name=weight or None)]
    if domain:
        values.insert(1, ir.Value(name="h"))
    return ir.Node(domain, op_type, values, name=name)


def model(*nodes: ir.Node) -> ir.Model:
    return ir.Model(ir.Graph([], [], nodes=nodes), ir_version=8)


def names_of_calls(*nodes: ir.Node) -> list[str]:
    name_layers(model(*nodes))
    return [one.metadata_props["layer"] for one in nodes]


def test_a_call_is_named_after_the_module_of_its_weights():
    """Dots are underscores; a parametrized weight is its layer's; a bare one names its function."""
    assert names_of_calls(
        node("gru", "module.encoder.rnn.weight_ih_l0", "torch"),
        node("gru_cell", "module.cell.parametrizations.weight_hh.original0", "torch"),
        node("gru_cell", "weight", "torch"),
        node("loop", "", "torch"),
    ) == ["encoder_rnn", "cell", "gru", "loop"]


def test_names_are_unique_over_the_graphs_of_a_model():
    """The second call of a name has its number, in the same graph and in the next one."""
    nodes = [node("gru", "module.rnn.weight_ih_l0", "torch") for _ in range(3)]
    name_layers(model(*nodes[:2]), model(*nodes[2:]))
    assert [one.metadata_props["layer"] for one in nodes] == ["rnn", "rnn_2", "rnn_3"]


@pytest.mark.parametrize(
    ("name", "weight", "layer", "scope"),
    [
        ("/encoder/rnn/LSTM", "W", "encoder_rnn", "encoder_rnn"),
        ("my lstm", "W", "my_lstm", "my_lstm"),
        ("node_LSTM_3", "encoder.rnn.weight_ih_l0", "encoder_rnn", "encoder_rnn"),
        ("n12", "W", "lstm", None),
    ],
)
def test_an_operator_is_named_after_its_own_path_or_its_weights(name, weight, layer, scope):
    """Names that a program counted up say nothing; without any other the operator is the name."""
    one = node("LSTM", weight, name=name)
    name_operator_layers([one])
    assert one.metadata_props["layer"] == layer
    assert one.metadata_props.get("scope") == scope


def test_the_modules_in_the_metadata_come_first():
    """Of the modules that an exporter lists around a node, the last but one is the layer."""
    one = node("LSTM", "W", name="node_LSTM_3")
    one.metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'tagger.rnn', 'lstm']"
    name_operator_layers([one])
    assert one.metadata_props["layer"] == "tagger_rnn"
