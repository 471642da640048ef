"""Sequence graphs at one step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from edgernn.errors import UnsupportedModelError
from edgernn.export.step.at_one_step import at_one_step, gemm_form
from tests.nets.layer_graphs import Layers, difference, operator_form

KINDS = [
    Layers("LSTM"),
    Layers("GRU"),
    Layers("GRU", linear_before_reset=0),
    Layers("RNN"),
    Layers("RNN", activation="Relu"),
]
SURROUNDINGS = {
    "batch first": {},
    "time major": {"batch_first": False},
    "embedding": {"embedding": 9},
    "embedding, time major": {"embedding": 9, "batch_first": False},
    "linear head": {"head": "Linear"},
    "log-softmax head": {"head": "LogSoftmax", "embedding": 9},
    "last step": {"output": "last", "head": "Linear"},
    "last step, time major": {"output": "last", "head": "Softmax", "batch_first": False},
    "last slice": {"output": "last slice", "head": "Linear"},
    "flat": {"output": "flat", "batch_first": False, "head": "Linear"},
    "one sequence": {"batch": 1, "embedding": 4, "head": "LogSoftmax"},
    "one sequence, flat": {"batch": 1, "output": "flat"},
    "unbatched": {"unbatched": True, "batch_first": False},
    "unbatched, embedding": {"unbatched": True, "batch_first": False, "embedding": 4},
    "sizes of 1": {"input_size": 1, "hidden_size": 1, "head": "Linear", "head_size": 1},
}


def text(model: str) -> ir.Model:
    """Return a model of opset 18 from ONNX's text form."""
    return ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 18]>\n{model}')


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda s: f"{s.kind}{s.activation or ''}{s.linear_before_reset}"
)
def test_steps_are_the_sequence(kind: Layers, layers: int, around: dict[str, object]):
    """T runs of the step graph, in both forms, give what one run over T steps gives."""
    spec = replace(kind, layers=layers, **around)  # type: ignore[arg-type]
    whole = operator_form(spec)
    step = at_one_step(whole)
    batch = 1 if spec.batch == 1 or spec.unbatched else 3
    assert difference(whole, step, batch, 4) < 1e-6
    assert difference(whole, gemm_form(step), batch, 4) < 1e-5
    assert difference(whole, gemm_form(step), 1, 2) < 1e-5


@pytest.mark.parametrize("form", [at_one_step, lambda model: gemm_form(at_one_step(model))])
def test_the_model_given_is_not_changed(form):
    """Both functions return a new model and leave theirs byte for byte."""
    model = operator_form(Layers(layers=2, embedding=9, head="LogSoftmax"))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    form(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_equal_models_give_equal_bytes():
    """The step graph depends on the sequence graph alone."""
    spec = Layers("GRU", layers=2, embedding=9, head="Linear")
    first, second = (
        ir.to_proto(gemm_form(at_one_step(operator_form(spec)))).SerializeToString()
        for _ in range(2)
    )
    assert first == second


def test_ports_lose_the_sequence_axis_alone():
    """Ports keep their names, order and other axes; sizes over the sequence are those at 1."""
    model = operator_form(Layers(layers=2, output="flat", batch_first=False))
    step = gemm_form(at_one_step(model))
    assert [str(port) for port in [*step.graph.inputs, *step.graph.outputs]] == [
        '%"x"<FLOAT,[batch,5]>',
        '%"h_in"<FLOAT,[2,batch,7]>',
        '%"c_in"<FLOAT,[2,batch,7]>',
        '%"output"<FLOAT,[batch,7]>',
        '%"h_out"<FLOAT,[2,batch,7]>',
        '%"c_out"<FLOAT,[2,batch,7]>',
    ]


def test_metadata_survives():
    """The model's metadata_props, opset and IR version stay."""
    step = gemm_form(at_one_step(operator_form(Layers())))
    assert step.metadata_props == {"edgernn.contract": "1"}
    assert (step.opset_imports, step.ir_version) == ({"": 18}, 8)


def test_an_embedded_lstm_has_no_leftover_moves():
    """Embedding, LSTM and head become lookup, products and activations, and two Squeezes."""
    spec = Layers(embedding=9, head="LogSoftmax")
    assert op_types(gemm_form(at_one_step(operator_form(spec)))) == [
        *["Gather", "Gemm", "Squeeze", "Gemm", "Split", "Sigmoid", "Split"],
        *["Mul", "Tanh", "Mul", "Add", "Tanh", "Mul"],
        *["Squeeze", "Gemm", "LogSoftmax"],
    ]


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda s: f"{s.kind}{s.activation or ''}{s.linear_before_reset}"
)
def test_the_result_is_a_valid_model_of_primitive_operators(kind: Layers):
    """Gemm form passes ONNX's full check, has unique names and no unused weights."""
    model = gemm_form(at_one_step(operator_form(replace(kind, layers=2, embedding=9))))
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    used = {name for node in proto.graph.node for name in node.input}
    assert {weights.name for weights in proto.graph.initializer} <= used
    assert {node.domain for node in proto.graph.node} == {""}
    assert not {"LSTM", "GRU", "RNN", "Scan", "Loop", "If"} & set(op_types(model))


def test_names_tell_the_layer():
    """The wires of the only LSTM begin with `lstm_`, those of several with a number too."""
    one, two = (gemm_form(at_one_step(operator_form(Layers(layers=n)))) for n in (1, 2))
    assert "lstm_gates" in {node.name for node in one.graph}
    assert {"lstm_0_gates", "lstm_1_gates"} <= {node.name for node in two.graph}


SIZES_FROM_SHAPES = """
    m (float[batch,sequence,2] x, float[1,batch,2] h_in)
        => (float[batch,sequence,2,1] y, float["batch*sequence",2] flat, float[1,batch,2] h_out)
    <float[1,2,2] W = {0.1, 0.2, 0.3, 0.4}, float[1,2,2] R = {0.5, 0.6, 0.7, 0.8},
     int64[1] zero = {0}, int64[1] one = {1}, int64[1] rest = {-1}, int64[2] tail = {2, 1},
     int64 first = {0}, int64 second = {1}>
    {
        t = Transpose<perm = [1, 0, 2]>(x)
        Y, h_out = RNN<hidden_size = 2>(t, W, R, , , h_in)
        s = Squeeze(Y, one)
        b = Transpose<perm = [1, 0, 2]>(s)
        shape = Shape(b)
        n0 = Gather(shape, first)
        n1 = Gather(shape, second)
        u0 = Unsqueeze(n0, zero)
        u1 = Unsqueeze(n1, zero)
        target = Concat<axis = 0>(u0, u1, tail)
        y = Reshape(b, target)
        product = Mul(u0, u1)
        target2 = Concat<axis = 0>(product, rest)
        flat = Reshape(b, target2)
    }
"""


def test_sizes_computed_from_shapes_are_folded():
    """No arithmetic on shapes is left, and the declared shapes are the real ones."""
    whole = text(SIZES_FROM_SHAPES)
    step = gemm_form(at_one_step(whole))
    assert op_types(step) == ["Gemm", "Squeeze", "Gemm", "Tanh", "Unsqueeze", "Unsqueeze"]
    assert difference(whole, step, 1, 3) < 1e-6
    shapes = [str(port.shape) for port in step.graph.outputs]
    assert shapes == ["[batch,2,1]", "[batch,2]", "[1,batch,2]"]


def cannot(model: ir.Model) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        gemm_form(at_one_step(model))
    return str(caught.value)


def one_layer(node: str, around: str = "", inputs: str = "float[sequence,batch,2] x") -> ir.Model:
    """Return a model whose one recurrent node is `node`, with weights W and R for one gate."""
    return text(f"""
        m ({inputs}, float[1,batch,2] h_in) => (float[1,batch,2] h_out)
        <float[1,2,2] W = {{1, 2, 3, 4}}, float[1,2,2] R = {{1, 2, 3, 4}}, int32[1] lengths = {{1}},
         int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] zero = {{0}}>
        {{
            {around}
            [layer] Y, h_out = {node}
        }}
    """)


def test_a_bidirectional_layer_has_no_step():
    """The refusal names the node and the direction."""
    model = operator_form(Layers("GRU"))
    node = next(node for node in model.graph if node.op_type == "GRU")
    node.attributes.add(ir.AttrString("direction", "bidirectional"))
    assert cannot(model) == (
        "`GRU_n1` (GRU) is bidirectional: it reads the sequence from its end, so the model has no "
        "step. Export the sequence graph alone."
    )


def test_a_graph_without_a_sequence_axis_is_refused():
    """The refusal lists the inputs with their shapes."""
    model = one_layer("RNN(x, W, R, , , h_in)", inputs="float[5,batch,2] x")
    assert cannot(model) == (
        "No input of the graph has an axis named `sequence`, so there is no step to take. "
        "Inputs are: x[5, batch, 2], h_in[1, batch, 2]."
    )


def test_a_layer_that_still_runs_several_steps_is_refused():
    """A time axis of a constant size does not become one step by itself."""
    model = one_layer(
        "RNN(t, W, R, , , h_in)",
        "t = Concat<axis = 0>(x, x)",
    )
    assert cannot(model) == (
        "`layer` (RNN) runs 2 steps where one was expected. Name the time axis `sequence`, or "
        "export the sequence graph alone."
    )


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("bins", [3, "bins"])
def test_a_layer_along_another_axis_runs_whole_in_every_step(direction: str, bins: int | str):
    """It stays an operator, in one direction or both."""
    count = 2 if direction == "bidirectional" else 1
    weights = ", ".join(str((number % 5 - 2) / 4) for number in range(4 * count))
    model = text(f"""
        m (float[sequence,{bins},2] x) => (float[{count},sequence,2] y)
        <float[{count},2,2] W = {{{weights}}}, float[{count},2,2] R = {{{weights}}}>
        {{
            rows = Transpose<perm = [1, 0, 2]>(x)
            [along_bins] Y, y = RNN<hidden_size = 2, direction = "{direction}">(rows, W, R)
        }}
    """)
    step = gemm_form(at_one_step(model))
    assert "RNN" in op_types(step)
    x = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
    run, run_step = (ReferenceEvaluator(ir.to_proto(one)).run for one in (model, step))
    whole: Any = run(None, {"x": x})
    steps: list[Any] = [run_step(None, {"x": frame}) for frame in x]
    np.testing.assert_allclose(np.stack([y for (y,) in steps], 1), whole[0], atol=1e-6)


def test_a_graph_that_is_empty_at_one_step_is_refused():
    """A difference between neighbouring steps has no value at one step."""
    model = one_layer("RNN(t, W, R, , , h_in)", "t = Slice(x, one, two, zero)")
    assert cannot(model) == (
        "`t` (Slice) is empty at one step: its shape is [0, batch, 2]. The model needs more than "
        "one time index at once. Export the sequence graph alone."
    )


@pytest.mark.parametrize(
    ("node", "what"),
    [
        ("RNN<clip = 1.0>(x, W, R, , , h_in)", "`clip=1.0`"),
        ('RNN<activations = ["Elu"]>(x, W, R, , , h_in)', "the activations Elu"),
        ("RNN(x, W, R, , lengths, h_in)", "the input `sequence_lens`"),
    ],
)
def test_what_no_form_takes_is_refused_by_name(node: str, what: str):
    """An attribute or input that the primitive operators would ignore is an error."""
    assert cannot(one_layer(node)) == (
        f"`layer` (RNN) has {what}, for which there is no form in primitive operators. "
        "Export the sequence graph alone."
    )


def test_a_missing_initial_state_is_refused():
    """A recurrent node without an initial state cannot be carried from step to step."""
    assert cannot(one_layer("RNN(x, W, R)")) == (
        "`layer` (RNN) has no initial state as its input 5, so that no state can be carried "
        "from step to step. Make its states graph inputs first."
    )


def test_computed_weights_are_refused():
    """Weights must be constants, because they are stored in another layout."""
    model = one_layer(
        "RNN(x, V, R, , , h_in)",
        "V = Unsqueeze(v, zero)",
        inputs="float[sequence,batch,2] x, float[2,2] v",
    )
    assert cannot(model) == (
        "`layer` (RNN) has weights that the graph computes (input 1); constants were "
        "expected. Export the sequence graph alone."
    )


@pytest.mark.parametrize("form", [at_one_step, gemm_form])
def test_an_old_opset_is_refused(form):
    """Before opset 13, the operators that a step graph needs have other forms."""
    model = operator_form(Layers())
    model.opset_imports[""] = 11
    with pytest.raises(UnsupportedModelError) as caught:
        form(model)
    assert str(caught.value) == (
        "The graph is of opset 11; a step graph is written in opset 13 or later. Convert the "
        "graph first, for example with `onnx.version_converter`."
    )


def test_an_output_that_is_not_what_it_declares_is_refused():
    """A declared size that contradicts the graph at one step is an error, not a wrong contract."""
    model = operator_form(Layers())
    model.graph.outputs[0].shape = ir.Shape(["batch", "sequence", 8])
    assert cannot(model) == (
        "Output `output` is declared [batch, sequence, 8], but at one step its shape is "
        "[batch, 1, 7] where [batch, 1, 8] was expected. Export the sequence graph alone."
    )
