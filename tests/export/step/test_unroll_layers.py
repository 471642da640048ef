"""The rules for layers that run several steps within one step of a model."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.ir.recurrent_operators import recurrent_nodes
from edgernn.export.lower.layers import lower
from edgernn.export.states.layer_names import name_layers
from edgernn.export.step.unroll_layers import unroll_layers
from edgernn.export.trace.trace import trace

LAYERS = {
    "lstm": lambda: nn.LSTM(3, 4, batch_first=True),
    "gru of two layers": lambda: nn.GRU(3, 4, 2),
    "rnn in both directions": lambda: nn.RNN(3, 4, bidirectional=True),
    "lstm in both directions": lambda: nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True),
}


class Window(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def lowered(layer, x):
    module = Window(layer).eval().requires_grad_(False)
    model = trace(module, example_from(module, (x,)))
    name_layers(model)
    lower(model)
    for name, value in (("x", model.graph.inputs[0]), ("y", model.graph.outputs[0])):
        value.name = name
    return model, module(x)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_steps_give_what_the_layer_gives(kind):
    """In every direction, and all layers of a stack."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3)
    model, expected = lowered(LAYERS[kind](), x)
    unroll_layers(model)
    assert len(recurrent_nodes(model.graph)) > 1
    assert all(
        node.attributes.get_string("direction", "forward") == "forward"
        for node in recurrent_nodes(model.graph)
    )
    session = OnnxSession(ir.serde.serialize_model(model).SerializeToString())
    got = session({"x": x.numpy()}, ["y"])["y"]
    np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-6)


def test_more_steps_than_are_written_out_are_refused():
    """A graph of thousands of nodes would be slow to load."""
    model, _ = lowered(nn.GRU(3, 4, batch_first=True), torch.randn(1, 200, 3))
    name = recurrent_nodes(model.graph)[0].name
    with pytest.raises(UnsupportedModelError) as caught:
        unroll_layers(model)
    assert str(caught.value) == (
        f"`{name}` (GRU) runs 200 steps within each step of the model; at most 128 are written "
        "out. Let forward look at fewer past steps at once."
    )


def test_a_layer_along_another_axis_stays_an_operator():
    """It runs as many steps in a whole sequence as in one step; written out it would be slower."""
    model, _ = lowered(nn.GRU(3, 4, bidirectional=True), torch.randn(5, 2, 3))
    unroll_layers(model, model.clone())
    assert [node.attributes["direction"].as_string() for node in recurrent_nodes(model.graph)] == [
        "bidirectional"
    ]
    longer, _ = lowered(nn.GRU(3, 4, bidirectional=True), torch.randn(7, 2, 3))
    unroll_layers(model, longer)
    assert len(recurrent_nodes(model.graph)) == 10
