"""What one step costs, counted by hand."""

import logging
import math

import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgernn.export.analysis.cost import cost_of
from edgernn.report import Cost
from tests.matrix.cells import Cell
from tests.matrix.layers import Layer


def cost_of_text(ports, body, *weights, domain="other"):
    """Return the cost of a graph written in ONNX's textual form."""
    return cost_of(model_of(ports, body, *weights, domain=domain))


def model_of(ports, body, *weights, domain="other"):
    """Return a graph written in ONNX's textual form."""
    head = f'<ir_version: 8, opset_import: ["" : 18, "{domain}" : 1]>'
    text = f"{head} g {ports} <{', '.join(weights)}> {{ {body} }}"
    return ir.from_proto(onnx.parser.parse_model(text))


def halves(name, *shape):
    """Return the text of an initializer of that shape, 0.5 everywhere."""
    values = ",".join(["0.5"] * math.prod(shape))
    return f"float[{','.join(map(str, shape))}] {name} = {{{values}}}"


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_parameters_are_torchs(kind, layers, bidirectional):
    """A layer has as many parameters in the graph as in torch."""
    layer = Layer(kind, layers, bidirectional)
    count = sum(weight.numel() for weight in layer.module().parameters())
    assert count == cost_of(ir.from_proto(layer.graph())).parameters


@pytest.mark.parametrize(("bidirectional", "count"), [(False, 1_314_816), (True, 3_153_920)])
def test_lstm_512_256_2(bidirectional, count):
    """LSTM(512, 256, 2) has 1,314,816 parameters, its bidirectional twin 3,153,920."""
    layer = Layer("LSTM", 2, bidirectional, input_size=512, hidden_size=256)
    biases = 2 * 2 * 1024 * layer.directions
    assert cost_of(ir.from_proto(layer.graph())) == Cost(
        parameters=count,
        multiply_adds=count - biases,
        weight_bytes=4 * count,
        state_bytes=2 * 2 * layer.directions * 256 * 4,
    )


def test_zero_bias_is_no_parameter():
    """The zero bias that stands for `bias=False` is read, but torch has no such parameter."""
    cost = cost_of_text(
        "(float[sequence,batch,3] x) => (y)",
        "y = RNN <hidden_size=4> (x, w, r, b)",
        halves("w", 1, 4, 3),
        halves("r", 1, 4, 4),
        "float[1,8] b = {0,0,0,0,0,0,0,0}",
    )
    assert cost == Cost(parameters=28, multiply_adds=28, weight_bytes=4 * 36, state_bytes=16)


def test_initial_state_is_no_parameter():
    """A constant initial state is state: neither a parameter nor a weight to read."""
    cost = cost_of_text(
        "(float[sequence,1,3] x) => (y)",
        "y = RNN <hidden_size=4> (x, w, r, , , h)",
        halves("w", 1, 4, 3),
        halves("r", 1, 4, 4),
        halves("h", 1, 1, 4),
    )
    assert cost == Cost(parameters=28, multiply_adds=28, weight_bytes=4 * 28, state_bytes=16)


@pytest.mark.parametrize("axes", ["sequence,batch", "25,4"])
def test_frozen_sizes_cost_the_same_per_step(axes):
    """A graph frozen to 25 steps of 4 sequences costs per step what the dynamic one costs."""
    cost = cost_of_text(
        f"(float[{axes},3] x) => (z)",
        "y = RNN <hidden_size=4> (x, w, r)  z = MatMul(y, v)",
        halves("w", 1, 4, 3),
        halves("r", 1, 4, 4),
        halves("v", 4, 2),
    )
    assert cost == Cost(parameters=36, multiply_adds=36, weight_bytes=144, state_bytes=16)


@pytest.mark.parametrize("over", [None, "Scan", "Loop"])
def test_cell_costs_the_same_lifted(over):
    """A cell's body counts once, wherever it stands; its merged bias is one vector."""
    cost = cost_of(ir.from_proto(Cell("LSTM", over).graph()))
    assert (cost.parameters, cost.multiply_adds, cost.weight_bytes) == (128, 112, 512)


def test_scan_carries_its_states():
    """The states of a Scan count as state: h and c, four numbers each."""
    assert cost_of(ir.from_proto(Cell("LSTM", "Scan").graph())).state_bytes == 2 * 4 * 4


def test_contract_names_the_states():
    """Where there is a contract, the ports that it calls states are the state."""
    model = ir.from_proto(Cell("LSTM").graph())
    assert cost_of(model).state_bytes == 0
    model.metadata_props["edgernn.states"] = "c_in:c_out,h_in:h_out"
    assert cost_of(model).state_bytes == 2 * 4 * 4


def test_embedding_reads_its_rows_only():
    """Of a table of 7 rows of 3 numbers one step reads one row; all 21 are parameters."""
    bare, embedded = (
        cost_of(ir.from_proto(Layer("GRU", embedding=e).graph())) for e in (False, True)
    )
    assert embedded.parameters - bare.parameters == 21
    assert embedded.weight_bytes - bare.weight_bytes == 12
    assert embedded.multiply_adds == bare.multiply_adds


def test_shared_weight_is_read_once():
    """A table that is also the head's matrix is one parameter and is read whole, once."""
    cost = cost_of_text(
        "(int64[batch] ids) => (scores)",
        "x = Gather(table, ids)  scores = Gemm <transB=1> (x, table)",
        halves("table", 5, 2),
    )
    assert cost == Cost(parameters=10, multiply_adds=10, weight_bytes=40, state_bytes=0)


def test_int8_weights_at_their_size():
    """int8 weights take one byte; scales and zero points are read but are no parameters."""
    cost = cost_of(ir.from_proto(Cell("RNN", int8=True).graph()))
    assert cost == Cost(parameters=32, multiply_adds=28, weight_bytes=28 + 16, state_bytes=0)


def test_scalars_and_shapes_are_no_weights():
    """Constants of rank 0, shapes and one-element constants in nodes do not count."""
    cost = cost_of_text(
        "(float[batch,4] x) => (z)",
        "two = Constant <value = float[1] {2.0}> ()  y = Add(x, eps)  w = Mul(y, two)  "
        "z = Reshape(w, shape)",
        "float eps = {0.1}",
        "int64[2] shape = {-1, 2}",
    )
    assert cost == Cost(parameters=0, multiply_adds=0, weight_bytes=0, state_bytes=0)


def test_convolution():
    """A convolution makes its kernels' products at every position that comes out."""
    cost = cost_of_text("(float[batch,2,9] x) => (y)", "y = Conv(x, w)", halves("w", 4, 2, 3))
    assert cost == Cost(parameters=24, multiply_adds=24 * 7, weight_bytes=96, state_bytes=0)


def test_transposed_convolution():
    """A transposed convolution makes its kernels' products at every position that goes in."""
    cost = cost_of_text(
        "(float[batch,4,7] x) => (y)", "y = ConvTranspose(x, w)", halves("w", 4, 2, 3)
    )
    assert cost == Cost(parameters=24, multiply_adds=24 * 7, weight_bytes=96, state_bytes=0)


def test_products_of_activations():
    """A product of two activations counts: attention over 5 keys of width 4."""
    cost = cost_of_text(
        "(float[batch,1,4] q, float[batch,4,5] k) => (s, e)",
        's = MatMul(q, k)  e = Einsum <equation="bqd,bdk->bqk"> (q, k)',
    )
    assert cost == Cost(parameters=0, multiply_adds=20 + 20, weight_bytes=0, state_bytes=0)


def test_dearer_branch_counts():
    """Of the branches of an If the dearer one counts."""
    cost = cost_of_text(
        "(bool c, float[batch,2] x) => (y)",
        """y = If (c) <
            then_branch = t () => (float[batch,3] a) { a = MatMul(x, w) },
            else_branch = f () => (float[batch,3] b) { n = MatMul(x, w)  b = Relu(n) }
        >""",
        halves("w", 2, 3),
    )
    assert cost.multiply_adds == 6


def test_statistics_are_no_parameters():
    """The mean and variance of a batch norm are read, but torch does not train them."""
    cost = cost_of_text(
        "(float[batch,4] x) => (y)",
        "y = BatchNormalization(x, scale, bias, mean, variance)",
        *(halves(name, 4) for name in ("scale", "bias", "mean", "variance")),
    )
    assert cost == Cost(parameters=8, multiply_adds=0, weight_bytes=64, state_bytes=0)


def test_blocks_of_four_bits():
    """MatMulNBits has K·N parameters in half a byte each, with scales beside them."""
    cost = cost_of_text(
        "(float[batch,32] x) => (y)",
        "y = com.microsoft.MatMulNBits <K=32, N=2, bits=4, block_size=32> (x, b, scales)",
        "uint8[2,1,16] b = {" + ",".join(["1"] * 32) + "}",
        halves("scales", 2),
        domain="com.microsoft",
    )
    assert cost == Cost(parameters=64, multiply_adds=64, weight_bytes=32 + 8, state_bytes=0)


def test_unknown_operator_is_quiet(caplog):
    """An operator of a foreign domain costs its weights and logs nothing."""
    with caplog.at_level(logging.WARNING):
        cost = cost_of_text("(float[batch,2] x) => (y)", "y = foreign.Op(x, w)", halves("w", 2))
    assert cost == Cost(parameters=2, multiply_adds=0, weight_bytes=8, state_bytes=0)
    assert caplog.records == []


def test_model_is_left_as_it_was():
    """Counting changes nothing in the model that it is given."""
    proto = Layer("LSTM").graph()
    model = ir.from_proto(proto)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    cost_of(model)
    assert before == ir.to_proto(model).SerializeToString(deterministic=True)


class Step(nn.Module):
    """Embedding, cell and head, as torch itself exports them."""

    def __init__(self):
        super().__init__()
        self.table, self.cell, self.head = nn.Embedding(7, 3), nn.LSTMCell(3, 4), nn.Linear(4, 7)

    def forward(self, ids, h, c):
        h, c = self.cell(self.table(ids), (h, c))
        return self.head(h).log_softmax(1), h, c


@pytest.mark.filterwarnings("ignore")
def test_torchs_own_export():
    """In a graph of torch's own exporter the parameters are those of the module."""
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        Step().eval(),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2, 4), torch.zeros(2, 4)),
        dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    weights = 16 * (3 + 4) + 7 * 4
    biases = 16 + 16 + 7
    assert cost_of(program.model) == Cost(
        parameters=21 + weights + biases,
        multiply_adds=weights,
        weight_bytes=4 * (3 + weights + biases),
        state_bytes=0,
    )


def test_a_graph_may_tell_its_models_parameters():
    """What a step graph folds, and the scales of int8, are no parameters of the model."""
    model = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18], metadata_props: ["edgernn.parameters": "7"]>
        m (float[1,2] x) => (float[1,3] y)
        <float[2,3] w = {1, 1, 1, 1, 1, 1}>
        { y = MatMul(x, w) }
    """)
    assert cost_of(model).parameters == 7


def test_a_layer_along_another_axis_counts_all_its_steps():
    """A step graph runs one step, whatever the steps of its recurrent nodes."""
    text = "(float[5,batch,3] x) => (y)", "y = RNN <hidden_size=4> (x, w, r)"
    weights = halves("w", 1, 4, 3), halves("r", 1, 4, 4)
    assert cost_of_text(*text, *weights).multiply_adds == 28
    model = model_of(*text, *weights)
    model.metadata_props["edgernn.graph"] = "step"
    assert cost_of(model).multiply_adds == 5 * 28
