"""torch's recurrent calls, written as ONNX's operators."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.ir.fold_constants import fold_constants
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.ir.recurrent_operators import OPERATORS
from edgernn.export.lower.layers import lower
from edgernn.export.states.layer_names import name_layers
from edgernn.export.trace.trace import trace


class Net(nn.Module):
    """A layer under a name of its own; its outputs alone come back."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.encoder = layer

    def forward(self, x):
        return self.encoder(x)[0]


class Packed(nn.Module):
    """The same over sequences that end at their lengths."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.encoder = layer

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(self.encoder(packed)[0], total_length=x.shape[0])[0]


class ComputedWeights(nn.Module):
    """A cell whose weight is made of the input."""

    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(3, 3)

    def forward(self, x):
        c = self.cell
        return torch.rnn_tanh_cell(
            x[0], x[1, :, :3], x[0, :3, :3] + c.weight_ih, c.weight_hh, c.bias_ih, c.bias_hh
        )


def lowered(
    module: nn.Module, packed: torch.Tensor | None = None, lengths: bool = True
) -> ir.Model:
    """Return the graph of a module of x (sequence, batch, 3), and of lengths if it is packed."""
    tensors = {"x": torch.randn(5, 3, 3)}
    shapes: dict[str, tuple[int | str, ...]] = {"x": ("sequence", "batch", 3)}
    if packed is not None:
        tensors["lengths"], shapes["lengths"] = packed, ("batch",)
    model = trace(module.eval(), ExampleCall(tensors, shapes))
    name_layers(model)
    lower(model, lengths)
    return model


def weight(node: ir.Node, place: int) -> np.ndarray:
    """Return a constant input of a node."""
    tensor = ir.convenience.get_const_tensor(node.inputs[place] or ir.Value())
    assert tensor is not None
    return tensor.numpy()


def run(model: ir.Model, **inputs: torch.Tensor) -> np.ndarray:
    fold_constants(model)
    session = OnnxSession(ir.to_proto(model).SerializeToString())
    return next(iter(session({name: one.numpy() for name, one in inputs.items()}).values()))


def operators(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type in OPERATORS]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_there_is_an_operator_for_each_layer(kind):
    """Both directions are one operator, named after the module that it is of."""
    model = lowered(Net(getattr(nn, kind)(3, 4, 2, bidirectional=True)))
    assert [(node.op_type, node.name) for node in operators(model)] == [
        (kind, "encoder_l0"),
        (kind, "encoder_l1"),
    ]
    assert {node.attributes["direction"].as_string() for node in operators(model)} == {
        "bidirectional"
    }
    assert {node.domain for node in model.graph} == {""}
    assert "torch" not in model.opset_imports


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_weights_have_onnx_order(kind):
    """Gates of W, R and B are those of torch's weights in the order of the operator."""
    layer = getattr(nn, kind)(3, 4)
    (node,) = operators(lowered(Net(layer)))
    known = OPERATORS[kind]
    order = [known.torch_gates.index(gate) for gate in known.onnx_gates]

    def sorted_gates(name: str) -> np.ndarray:
        rows = layer.get_parameter(name).detach().numpy()
        return np.concatenate([np.split(rows, len(order))[place] for place in order])

    w, r, b = (weight(node, place) for place in (1, 2, 3))
    np.testing.assert_array_equal(w[0], sorted_gates("weight_ih_l0"))
    np.testing.assert_array_equal(r[0], sorted_gates("weight_hh_l0"))
    np.testing.assert_array_equal(
        b[0], np.concatenate([sorted_gates("bias_ih_l0"), sorted_gates("bias_hh_l0")])
    )


def test_a_layer_without_bias_has_zeros():
    """The operator's B is there all the same."""
    (node,) = operators(lowered(Net(nn.GRU(3, 4, bias=False))))
    bias = weight(node, 3)
    assert bias.shape == (1, 24)
    assert not bias.any()


def test_a_projected_lstm_is_an_operator_of_its_own():
    """`edgernn::LSTM` has the projection as one more input, (directions, projected, hidden)."""
    model = lowered(Net(nn.LSTM(3, 4, proj_size=2)))
    (node,) = operators(model)
    assert (node.domain, weight(node, 4).shape) == ("edgernn", (1, 2, 4))
    assert model.opset_imports["edgernn"] == 1


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
def test_packed_sequences_end_at_their_lengths(kind, bidirectional):
    """Without ONNX's `sequence_lens`; lengths are an input as they are in forward."""
    module = Packed(getattr(nn, kind)(3, 4, bidirectional=bidirectional)).eval()
    model = lowered(module, torch.tensor([5, 2, 3]))
    assert {node.inputs[4] for node in operators(model)} == {None}
    x, lengths = torch.randn(7, 4, 3), torch.tensor([1, 7, 6, 2])
    with torch.no_grad():
        expected = module(x, lengths)
    np.testing.assert_allclose(run(model, x=x, lengths=lengths), expected.numpy(), atol=1e-6)


def test_without_lengths_every_step_counts():
    """What is asked for without lengths runs the layer over all steps."""
    module = Packed(nn.LSTM(3, 4)).eval()
    model = lowered(module, torch.tensor([5, 2, 3]), lengths=False)
    (node,) = operators(model)
    assert node.attributes["direction"].as_string() == "forward"
    x = torch.randn(7, 4, 3)
    with torch.no_grad():
        expected = module.encoder(x)[0]
    given = {"x": x, "lengths": torch.tensor([1, 7, 6, 2])}
    used = {port.name for port in model.graph.inputs}
    got = run(model, **{name: one for name, one in given.items() if name in used})
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)


def test_weights_computed_from_the_input_are_refused():
    """Only weights that stay the same from call to call can be initializers."""
    with pytest.raises(UnsupportedModelError) as caught:
        lowered(ComputedWeights())
    assert str(caught.value) == (
        "`cell` has weights that forward computes from the model's input. Only weights that stay "
        "the same from call to call can be exported."
    )
