"""Which runtimes refuse a graph, in full sentences; tests/matrix holds them to the truth."""

import onnx.parser
import onnx_ir as ir
import pytest

from edgernn.export.analysis.runtime_refusals import RuntimeIssue, refusals_of, runtime_issues
from tests.matrix.cells import Cell
from tests.matrix.forms import AVOIDED, EMITTED
from tests.matrix.layers import Layer


def refusals_of_form(form):
    return refusals_of(ir.from_proto(form.graph()))


def refusals_of_node(node, signature="float[sequence,batch,3] x"):
    text = f'<ir_version: 8, opset_import: ["" : 18]> g ({signature}) => (y) {{ {node} }}'
    return refusals_of(ir.from_proto(onnx.parser.parse_model(text)))


WEIGHTED = "float[sequence,batch,3] x, float[1,16,3] w, float[1,16,4] r, float[1,32] b"


@pytest.mark.parametrize("name", ["LSTM", "GRU", "LSTM stacked bidirectional", "LSTM cell"])
def test_emitted_forms_are_taken_everywhere(name):
    """LSTM and GRU as edgernn writes them, and every cell, have no trouble in any runtime."""
    assert refusals_of_form(EMITTED[name]) == {}


def test_rnn():
    """The RNN operator is what OpenCV and WebGPU lack."""
    assert refusals_of_form(EMITTED["RNN"]) == {
        "ONNX Runtime Web with WebGPU": (
            "It runs RNN `rnn_0` on the CPU: WebGPU has LSTM and GRU only."
        ),
        "OpenCV": "It refuses RNN `rnn_0`: it has LSTM and GRU only.",
    }


def test_relu_rnn():
    """The relu RNN is misread by tract, which always takes tanh, and stays on the CPU with CUDA."""
    refusals = refusals_of_form(EMITTED["RNN with relu"])
    assert refusals["tract"] == (
        "It runs RNN `rnn_0` with wrong numbers, silently: it always takes the default activations."
    )
    assert refusals["ONNX Runtime with CUDA"] == (
        "It runs RNN `rnn_0` on the CPU: cuDNN has the default activations only."
    )


def test_sequence_lens():
    """`sequence_lens` is refused by some and ignored by others, and the sentence says which."""
    assert refusals_of_form(AVOIDED["LSTM with sequence_lens"]) == {
        "OpenVINO": (
            "It runs LSTM `lstm_0` with wrong numbers, silently: it ignores `sequence_lens` where "
            "axes are dynamic."
        ),
        "tract": "It refuses LSTM `lstm_0`: it has no `sequence_lens`.",
        "OpenCV": "It runs LSTM `lstm_0` with wrong numbers, silently: it ignores `sequence_lens`.",
        "TensorRT": "It refuses LSTM `lstm_0`: it has no `sequence_lens`.",
    }


def test_missing_initial_state():
    """A dynamic batch without initial state ends tract's process; OpenCV's GRU refuses it."""
    assert refusals_of_form(AVOIDED["GRU without initial state"]) == {
        "tract": (
            "It aborts the process on GRU `gru_0`: it needs initial states where the batch is "
            "dynamic."
        ),
        "OpenCV": "It refuses GRU `gru_0`: it needs initial states where the batch is dynamic.",
    }


def test_missing_initial_state_of_fixed_batch():
    """With a fixed batch only tract's LSTM misses the initial state, and with batch 1 nobody."""
    node = "y = LSTM <hidden_size=4> (x, w, r, b)"
    assert refusals_of_node(node, WEIGHTED.replace("batch", "1")) == {}
    assert refusals_of_node(node, WEIGHTED.replace("batch", "2")) == {
        "tract": "It refuses LSTM `y`: it needs initial states where the batch is above 1."
    }


def test_sequence_lens_of_fixed_sizes():
    """OpenVINO heeds `sequence_lens` where every axis is fixed."""
    refusals = refusals_of_form(AVOIDED["LSTM with sequence_lens, frozen"])
    assert list(refusals) == ["tract", "OpenCV", "TensorRT"]


def test_several_troubles_are_several_sentences():
    """Every trouble of a runtime has its sentence, in the order of its list."""
    node = "y = LSTM <hidden_size=4, layout=1, clip=1.0> (x, w, r, b)"
    assert refusals_of_node(node, WEIGHTED)["OpenCV"] == (
        "It refuses LSTM `y`: it has `layout=0` only. "
        "It runs LSTM `y` with wrong numbers, silently: it ignores `clip`."
    )


def test_nodes_are_named():
    """A sentence names all the nodes that it is about, those in bodies too."""
    assert refusals_of_form(Layer("RNN", 2))["OpenCV"] == (
        "It refuses RNN `rnn_1`, `rnn_3`: it has LSTM and GRU only."
    )
    inner = "If (c) <then_branch = t () => (a) { a = RNN (x, w, r) }, else_branch = f () => (e) "
    node = f"y = {inner} {{ e = Relu (x) }}>"
    signature = WEIGHTED.replace("16", "4").replace("32", "8") + ", bool c"
    assert refusals_of_node(node, signature)["OpenCV"] == (
        "It refuses RNN `a`: it has LSTM and GRU only."
    )


def test_scan_and_loop():
    """Scan and Loop are refused by those that have none."""
    assert refusals_of_form(Cell("LSTM", "Scan")) == {
        "ONNX Runtime Web with WebGPU": "It runs Scan `scan_2` on the CPU: WebGPU has no Scan.",
        "OpenCV": "It refuses Scan `scan_2`: it has no Scan.",
    }
    assert refusals_of_form(Cell("LSTM", "Loop"))["tract"] == (
        "It refuses Loop `loop_4`: it has no Loop."
    )


def test_gelu():
    """OpenCV ends the process at the order of GELU's products that torch's exporter writes."""
    assert refusals_of_form(EMITTED["GELU"]) == {}
    assert refusals_of_form(AVOIDED["GELU, halved first"]) == {
        "OpenCV": (
            "It aborts the process on Mul `mul_4`: it looks for GELU and does not take this order "
            "of it."
        )
    }


def test_ir_version():
    """A file newer than ONNX Runtime is refused by it alone."""
    assert refusals_of_form(AVOIDED["IR version 14"]) == {
        "ONNX Runtime": "It refuses IR version 14: version 1.31 reads up to 13."
    }


@pytest.mark.parametrize(
    ("activations", "refused"),
    [
        ('["Tanh", "Relu"]', True),
        ('["Relu", "Relu"]', False),
        ('["Tanh", "Tanh"]', False),
    ],
)
def test_directions_must_be_alike_for_tensorrt(activations, refused):
    """TensorRT wants the same activations in both directions."""
    node = (
        f'y = RNN <hidden_size=4, direction="bidirectional", activations={activations}> (x, w, r)'
    )
    signature = "float[sequence,batch,3] x, float[2,4,3] w, float[2,4,4] r"
    assert ("TensorRT" in refusals_of_node(node, signature)) is refused


def test_default_activations_named():
    """Naming the defaults changes nothing, except for OpenCV's GRU."""
    assert refusals_of_form(AVOIDED["LSTM activations named"]) == {}
    assert refusals_of_form(AVOIDED["GRU activations named"]) == {
        "OpenCV": "It refuses GRU `gru_0`: its GRU takes no `activations`, be they the default."
    }


def test_gru_before_reset():
    """`linear_before_reset=0`, the default of ONNX, is what cuDNN lacks."""
    assert refusals_of_form(AVOIDED["GRU with linear_before_reset=0"]) == {
        "ONNX Runtime with CUDA": (
            "It runs GRU `gru_0` on the CPU: cuDNN has `linear_before_reset=1` only."
        )
    }


def test_finding():
    """A finding keeps apart what its sentence joins."""
    found = runtime_issues(ir.from_proto(AVOIDED["IR version 14"].graph()))
    assert found == (
        RuntimeIssue(
            "ONNX Runtime", "refuses", "IR version", "IR version 14", "version 1.31 reads up to 13"
        ),
    )


INT8 = "int8[1,12,3] w, int8[1,12,4] r, float[12] s, int8[12] z"


@pytest.mark.parametrize("quantizes", [False, True])
def test_int8_weights_of_a_layer(quantizes):
    """OpenVINO takes them where the graph quantizes no data; OpenCV multiplies no integers."""
    layer = (
        "wf = DequantizeLinear <axis = 1> (w, s, z)  rf = DequantizeLinear <axis = 1> (r, s, z) "
        "h, y = GRU <hidden_size = 4, linear_before_reset = 1> (x, wf, rf, b, , h0)"
    )
    product = " q = QuantizeLinear(y, s1, z1)  p = MatMulInteger(q, w2)" if quantizes else ""
    signature = (
        f"float[sequence,batch,3] x, float[1,24] b, float[1,batch,4] h0, {INT8}, "
        "float s1, uint8 z1, int8[4,2] w2"
    )
    refused = {
        "OpenCV": "It refuses MatMulInteger `p`: it has no MatMulInteger.",
        "OpenVINO": (
            "It refuses GRU `h`: where a graph has QuantizeLinear, it takes no int8 weights of "
            "LSTM and GRU."
        ),
    }
    assert refusals_of_node(layer + product, signature) == (refused if quantizes else {})


@pytest.mark.parametrize(("bits", "refused"), [(4, False), (8, True)])
def test_blocks_in_tract(bits, refused):
    """Of ONNX Runtime's own operators, tract has the product of int4."""
    refusals = refusals_of(
        ir.from_onnx_text(
            '<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]> g (float[n, 32] x, '
            "uint8[2, 1, 32] w, float[2, 1] s) => (y) { y = com.microsoft.MatMulNBits "
            f"<K = 32, N = 2, bits = {bits}, block_size = 32> (x, w, s) }}"
        )
    )
    assert ("tract" in refusals) is refused
    assert "OpenCV" in refusals
