"""The rules for ONNX files that somebody else made."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgernn.artifact import Artifact
from edgernn.errors import EdgernnError, InputError, SourceError, UnsupportedModelError
from edgernn.export.onnxfile.file import OPSETS
from edgernn.export.pipeline import export_model, verify_artifact
from tests.export.onnx_graphs import GATES, X, detector, port, recurrent, weights, write

REFERENCE = "the original file in ONNX Runtime"


class Tagger(nn.Module):
    """An embedding, a layer and a head; the state stays inside."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU | nn.RNN], **how: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.rnn = kind(6, 5, batch_first=True, **how)
        self.head = nn.Linear(10 if how.get("bidirectional") else 5, 3)

    def forward(self, tokens):
        return self.head(self.rnn(self.embedding(tokens))[0])


class Carrier(nn.Module):
    """Two stacked layers, time-major, that take and return their state."""

    def __init__(self, returned: bool = True) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 5, 2)
        self.returned = returned

    def forward(self, x, h0, c0):
        y, (h, c) = self.lstm(x, (h0, c0))
        return (y, h, c) if self.returned else y


def from_torch(path: Path, module: nn.Module, args: tuple[Any, ...], **how: Any) -> Path:
    """Write `module` with one of torch's own exporters."""
    torch.manual_seed(0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), args, str(path), verbose=False, **how)
    return path


def export(file: Path, **how: Any) -> Artifact:
    return export_model(file, file.with_suffix(".edgernn"), **how)


def shown(artifact: Artifact, kind: str = "sequence") -> list[str]:
    graph = artifact.contract.graphs[kind]
    return [str(one) for one in (*graph.inputs, *graph.outputs)]


def refusal(file: Path, kind: type[EdgernnError] = UnsupportedModelError, **how: Any) -> str:
    """Return the message that `file` is refused with; nothing may be left on disk."""
    before = set(file.parent.iterdir())
    with pytest.raises(kind) as info:
        export(file, **how)
    assert set(file.parent.iterdir()) == before
    return str(info.value)


TOKENS = torch.arange(10).reshape(2, 5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_torch_file_with_free_axes(tmp_path, kind):
    """What torch's older exporter writes gets its states, both axes and a step graph."""
    file = from_torch(
        tmp_path / "tagger.onnx",
        Tagger(kind),
        (TOKENS,),
        dynamo=False,
        input_names=["tokens"],
        output_names=["scores"],
        dynamic_axes={"tokens": {0: "b", 1: "t"}},
    )
    artifact = export(file)
    letters = "hc" if kind is nn.LSTM else "h"
    assert shown(artifact) == [
        "tokens: int64[batch, sequence]",
        *(f"{letter}_in: float32[1, batch, 5]" for letter in letters),
        "scores: float32[batch, sequence, 3]",
        *(f"{letter}_out: float32[1, batch, 5]" for letter in letters),
    ]
    assert shown(artifact, "step")[0] == "tokens: int64[batch]"
    assert artifact.contract.graphs["step"].input("tokens").limit == 11
    assert artifact.contract.carry
    assert artifact.contract.source.startswith("ONNX file tagger.onnx, pytorch 2.")
    assert artifact.parity is not None
    assert artifact.parity.reference == REFERENCE
    assert {check.graph for check in artifact.parity.checks} == {"sequence", "step"}
    assert {check.initial for check in artifact.parity.checks} == {"zero", "random"}


def test_a_torch_file_with_frozen_axes(tmp_path):
    """Axes that the file declares as numbers stay numbers, and there is no step graph."""
    file = from_torch(tmp_path / "frozen.onnx", Tagger(nn.GRU), (TOKENS,), dynamo=False)
    artifact = export(file)
    assert shown(artifact)[0] == "input_1: int64[2, 5]"
    assert list(artifact.contract.graphs) == ["sequence"]
    assert artifact.contract.notes == (
        "Axis 0 of `input.1` (batch) is the constant 2: the file itself fails at other sizes (it "
        "declares `input.1` as [2,5]).",
        "There is no step graph: the file fixes its sequences to 5 steps.",
    )


def test_what_torch_dynamo_writes(tmp_path):
    """Weights that the newer exporter leaves to be computed are folded; names are the modules'."""
    batch, steps = torch.export.Dim("b"), torch.export.Dim("t")
    file = from_torch(
        tmp_path / "tagger.onnx",
        Tagger(nn.LSTM, num_layers=2),
        (TOKENS,),
        dynamo=True,
        dynamic_shapes=({0: batch, 1: steps},),
    )
    artifact = export(file)
    names = [state.name for state in artifact.contract.states]
    assert names == ["rnn_h", "rnn_c", "rnn_2_h", "rnn_2_c"]
    assert artifact.contract.step is not None


def test_a_bidirectional_file(tmp_path):
    """A bidirectional node has a sequence graph alone."""
    file = from_torch(
        tmp_path / "both.onnx",
        Tagger(nn.LSTM, bidirectional=True),
        (TOKENS,),
        dynamo=False,
        input_names=["tokens"],
        dynamic_axes={"tokens": {0: "b", 1: "t"}},
    )
    artifact = export(file)
    assert not artifact.contract.carry
    assert artifact.contract.notes == (
        "There is no step graph: `/rnn/LSTM` (LSTM) is bidirectional: it reads the sequence from "
        "its end.",
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


@pytest.mark.parametrize("op", GATES)
def test_layout_is_written_as_transposes(tmp_path, op):
    """`layout=1`, which ONNX Runtime does not load, agrees with the definition of ONNX."""
    batch_first = port("x", ["B", "T", 2])
    file = write(
        tmp_path / "batch.onnx",
        [recurrent(op, outputs=("y", "yh"), layout=1)],
        weights(op),
        [batch_first],
    )
    artifact = export(file)
    x = np.random.default_rng(1).standard_normal((3, 4, 2)).astype(np.float32)
    expected: Any = ReferenceEvaluator(str(file)).run(None, {"x": x})
    graph = artifact.contract.graphs["sequence"]
    states = {s.input: artifact.contract.initial(s, 3) for s in artifact.contract.states}
    session = onnxruntime.InferenceSession(str(artifact.sequence))
    got: Any = session.run(["y", "yh"], {"x": x, **states})
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert graph.output("y").shape == ("batch", "sequence", 1, 3)
    assert artifact.parity is not None
    assert artifact.parity.reference == (
        "the original file (its layout=1 written as transposes) in ONNX Runtime"
    )
    assert artifact.contract.notes == (
        "layout=1 of `rec` is written as transposes: ONNX Runtime does not load it.",
    )


@pytest.mark.parametrize("op", GATES)
def test_a_bias_is_added_and_every_output_named(tmp_path, op):
    """The graph that is written has every input and output that some runtime insists on."""
    constants = weights(op)
    del constants["B"]
    artifact = export(write(tmp_path / "bare.onnx", [recurrent(op, ("x", "W", "R"))], constants))
    (node,) = onnx.load(str(artifact.sequence)).graph.node
    states = ["h_in", "c_in"] if op == "LSTM" else ["h_in"]
    assert [*node.input][4:] == ["", *states]
    assert node.input[3]
    assert [*node.output] == ["y", *(name.replace("_in", "_out") for name in states)]


@pytest.mark.parametrize("op", GATES)
def test_reverse_alone_is_written_as_reversals(tmp_path, op):
    """A lone reverse direction becomes a forward node between two reversals."""
    file = write(
        tmp_path / "back.onnx",
        [recurrent(op, outputs=("y", "yh"), direction="reverse")],
        weights(op),
    )
    artifact = export(file)
    nodes = onnx.load(str(artifact.sequence)).graph.node
    assert [node.op_type for node in nodes] == ["Slice", op, "Slice"]
    assert not [a for node in nodes for a in node.attribute if a.name == "direction"]
    assert artifact.contract.notes == (
        f"There is no step graph: `rec` ({op}) is reverse: it reads the sequence from its end.",
    )


@pytest.mark.parametrize(("opset", "ir_version"), [(9, 3), (11, 4), (14, 7), (22, 10), (24, 11)])
def test_other_opsets(tmp_path, opset, ir_version):
    """Older and newer operator sets, and weights among the inputs, come out as opset 18."""
    old = opset < 13
    axes: dict[str, Any] = {"axes": [1]} if old else {}
    squeeze = helper.make_node("Squeeze", ["y"] if old else ["y", "axes"], ["z"], **axes)
    file = write(
        tmp_path / "other.onnx",
        [recurrent("LSTM"), squeeze],
        {**weights("LSTM"), **({} if old else {"axes": np.array([1])})},
        opset=opset,
        ir_version=ir_version,
    )
    artifact = export(file)
    written = onnx.load(str(artifact.sequence))
    assert [(one.domain, one.version) for one in written.opset_import] == [("", 18)]
    assert artifact.contract.graphs["step"].output("z").shape == ("batch", 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions(tmp_path, dtype):
    """float16 and float64 are run and written in float32, and said so."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    constants = {name: array.astype(dtype) for name, array in weights("GRU").items()}
    nodes = [
        helper.make_node("Cast", ["x"], ["x_other"], to=element),
        recurrent("GRU", ("x_other", "W", "R", "B")),
    ]
    file = write(tmp_path / "other.onnx", nodes, constants, outputs=[port("y", None, element)])
    artifact = export(file)
    name = np.dtype(dtype).name
    assert artifact.contract.notes == (f"The file is in {name}; it is run and written in float32.",)
    assert artifact.parity is not None
    assert artifact.parity.reference == "the original file (in float32) in ONNX Runtime"
    assert {one.split(":")[1].split("[")[0] for one in shown(artifact)} == {" float32"}


@pytest.mark.parametrize("primitive", [False, True], ids=["node", "primitive"])
def test_a_detector_with_h_and_c_in_one_tensor(tmp_path, primitive):
    """A file of one step keeps its one state; its sequence graph is the lift."""
    file = detector(tmp_path / "voice.onnx", primitive)
    artifact = export(file)
    assert shown(artifact, "step") == [
        "x: float32[batch, 64]",
        "state_in: float32[2, batch, 4]",
        "output: float32[batch, 1]",
        "state_out: float32[2, batch, 4]",
    ]
    assert shown(artifact)[0] == "x: float32[batch, sequence, 64]"
    assert artifact.contract.graphs["step"].output("state_out").origin == "stateN"
    operators = {node.op_type for node in onnx.load(str(artifact.sequence)).graph.node}
    assert ("LSTM" in operators, "Scan" in operators) == (not primitive, primitive)


def test_a_convolution_with_strides(tmp_path):
    """The size of an output that follows from an input's is written as an expression."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["frames"], strides=[2]),
        helper.make_node("Transpose", ["frames"], ["steps"], perm=[2, 0, 1]),
        recurrent("GRU", ("steps", "W", "R", "B")),
    ]
    kernel = np.random.default_rng(2).standard_normal((4, 2, 5)).astype(np.float32)
    file = write(
        tmp_path / "conv.onnx",
        nodes,
        {**weights("GRU", width=4), "kernel": kernel},
        [port("x", ["B", 2, "T"])],
    )
    artifact = export(file)
    assert shown(artifact) == [
        "x: float32[batch, 2, sequence]",
        "h_in: float32[1, batch, 3]",
        "y: float32[(sequence - 3)//2, 1, batch, 3]",
        "h_out: float32[1, batch, 3]",
    ]
    assert list(artifact.contract.graphs) == ["sequence"]


def test_what_keras_files_look_like(tmp_path):
    """Batch first by transposes, only the last state used, and inside it names that are ours."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["h_in"], perm=[1, 0, 2]),
        recurrent("LSTM", ("h_in", "W", "R", "B"), ("", "h_out"), name="model/lstm/LSTM__12"),
        helper.make_node("Squeeze", ["h_out", "axis"], ["dense"]),
        helper.make_node("MatMul", ["dense", "kernel"], ["Identity:0"]),
    ]
    constants = {"axis": np.array([0]), "kernel": np.ones((3, 2), np.float32)}
    file = write(
        tmp_path / "keras.onnx",
        nodes,
        {**weights("LSTM"), **constants},
        [port("x", ["unk__1", "unk__2", 2])],
    )
    artifact = export(file)
    assert shown(artifact) == [
        "x: float32[batch, sequence, 2]",
        "h_in: float32[1, batch, 3]",
        "c_in: float32[1, batch, 3]",
        "Identity_0: float32[batch, 2]",
        "h_out: float32[1, batch, 3]",
        "c_out: float32[1, batch, 3]",
    ]
    assert artifact.contract.step is not None


def test_steps_and_sequences_in_one_axis(tmp_path):
    """An output that counts steps and sequences together says which is the outer one."""
    flat = helper.make_node("Reshape", ["y", "to"], ["z"])
    constants = {**weights("GRU"), "to": np.array([-1, 3])}
    artifact = export(write(tmp_path / "flat.onnx", [recurrent("GRU"), flat], constants))
    assert artifact.contract.graphs["sequence"].output("z").shape == ("sequence*batch", 3)
    assert artifact.contract.step is not None


def test_a_file_of_one_step(tmp_path):
    """A file whose sequences have one step each keeps that axis and gets one for the steps."""
    fixed = port("x", [1, "B", 2])
    artifact = export(write(tmp_path / "one.onnx", [recurrent("GRU")], weights("GRU"), [fixed]))
    assert shown(artifact)[0] == "x: float32[1, batch, sequence, 2]"
    assert shown(artifact, "step")[0] == "x: float32[1, batch, 2]"
    operators = [node.op_type for node in onnx.load(str(artifact.sequence)).graph.node]
    assert operators.count("GRU") == 1


def test_an_operator_that_opset_18_lacks(tmp_path):
    """A file with an operator of a newer opset is refused, by the operator's name."""
    swish = helper.make_node("Swish", ["y"], ["z"])
    file = write(
        tmp_path / "new.onnx", [recurrent("GRU"), swish], weights("GRU"), opset=24, ir_version=11
    )
    assert refusal(file) == (
        f"`{file}` is of opset 24 and cannot be brought to opset 18: No Op registered for Swish "
        "with domain_version of 18. Export the model again with opset 18."
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
        "step of a recurrence, name its state: --state IN=OUT."
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


def test_an_artifact_is_verified_against_its_file(tmp_path):
    """`verify` proves an artifact against the ONNX file, and refuses another file."""
    artifact = export(write(tmp_path / "a.onnx", [recurrent("GRU")], weights("GRU")))
    report = verify_artifact(artifact, tmp_path / "a.onnx")
    assert report.passed
    assert report.reference == REFERENCE
    other = {name: array + 0.1 for name, array in weights("GRU").items()}
    write(tmp_path / "b.onnx", [recurrent("GRU")], other)
    with pytest.raises(EdgernnError, match="does not agree with the original file in ONNX Runtime"):
        verify_artifact(artifact, tmp_path / "b.onnx")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "clip": (
        {"clip": 3.0},
        "LSTM `rec` in `{file}` has clip=3, which several runtimes ignore. Export the model "
        "without clipping.",
    ),
    "input_forget": (
        {"input_forget": 1},
        "LSTM `rec` in `{file}` has input_forget=1, which couples two gates and which several "
        "runtimes ignore. Export the model with both gates.",
    ),
    "activations": (
        {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
        "LSTM `rec` in `{file}` has the activations HardSigmoid, Tanh, Tanh; sigmoid, tanh, tanh "
        "was expected. Train or export the model with the default activations.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_attributes(tmp_path, name):
    """Attributes that some runtime ignores are refused by name."""
    attributes, message = REFUSED[name]
    file = write(tmp_path / "odd.onnx", [recurrent("LSTM", **attributes)], weights("LSTM"))
    assert refusal(file) == message.format(file=file)


def test_peepholes(tmp_path):
    """Peepholes are refused; those that are all zero say nothing."""
    inputs = ("x", "W", "R", "B", "", "", "", "P")
    node = recurrent("LSTM", inputs)
    file = write(tmp_path / "p.onnx", [node], {**weights("LSTM"), "P": np.ones((1, 9), np.float32)})
    assert refusal(file) == (
        f"LSTM `rec` in `{file}` has peepholes (input P), which several runtimes ignore. Train or "
        "export the model without them."
    )
    write(file, [node], {**weights("LSTM"), "P": np.zeros((1, 9), np.float32)})
    assert export(file).contract.step is not None


def test_lengths(tmp_path):
    """`sequence_lens` from the input or short of the end is refused; a full one is dropped."""
    node = recurrent("GRU", ("x", "W", "R", "B", "lens"))
    file = write(
        tmp_path / "l.onnx",
        [node],
        weights("GRU"),
        [X, port("lens", ["B"], TensorProto.INT32)],
    )
    assert refusal(file) == (
        f"GRU `rec` in `{file}` takes the lengths of its sequences from the input (sequence_lens, "
        "`lens`), which several runtimes ignore. Export the model without lengths, or export the "
        "torch model, whose packed sequences are written in operators that every runtime has."
    )
    fixed = port("x", [4, 2, 2])
    short = {**weights("GRU"), "lens": np.array([4, 3], np.int32)}
    write(file, [node], short, [fixed])
    assert refusal(file) == (
        f"GRU `rec` in `{file}` ends its sequences at the constant lengths 4, 3 (sequence_lens) "
        "of 4 steps. Cut the input to that length and export the model without lengths."
    )
    full = {**weights("GRU"), "lens": np.array([4, 4], np.int32)}
    write(file, [node], full, [fixed])
    written = onnx.load(str(export(file).sequence))
    assert [one.input[4] for one in written.graph.node] == [""]


def test_weights_from_the_input(tmp_path):
    """A layer whose weights are an input is refused."""
    constants = weights("RNN")
    recurrent_weights = constants.pop("R")
    file = write(
        tmp_path / "w.onnx",
        [recurrent("RNN")],
        constants,
        [X, port("R", recurrent_weights.shape)],
    )
    assert refusal(file) == (
        f"RNN `rec` in `{file}` has weights R that the graph computes from its inputs; constants "
        "were expected. A layer whose weights change from call to call has no step graph."
    )


def body(nodes: list[Any], outputs: list[Any], inputs: list[Any] | None = None) -> Any:
    return helper.make_graph(nodes, "body", inputs or [], outputs)


def test_bodies(tmp_path):
    """A layer inside an If, and a recurrence in a Loop or Scan, are refused."""
    branch = body([recurrent("RNN", outputs=("y",))], [port("y", None)])
    node = helper.make_node(
        "If", ["flag"], ["out"], "choice", then_branch=branch, else_branch=branch
    )
    flag = port("flag", [], TensorProto.BOOL)
    file = write(tmp_path / "if.onnx", [node], weights("RNN"), [X, flag])
    assert refusal(file) == (
        f"RNN `rec` in `{file}` stands inside the body of If `choice`, from where its state cannot "
        "become a port. Export the model with the layer outside of it."
    )
    step = body(
        [helper.make_node("Add", ["h", "now"], ["next"]), helper.make_node("Neg", ["next"], ["o"])],
        [port("next", ["B", 2]), port("o", ["B", 2])],
        [port("h", ["B", 2]), port("now", ["B", 2])],
    )
    scan = helper.make_node("Scan", ["h0", "x"], ["hn", "y"], "over", num_scan_inputs=1, body=step)
    file = write(tmp_path / "scan.onnx", [scan], {}, [port("h0", ["B", 2]), X])
    assert refusal(file) == (
        f"Scan `over` in `{file}` is a recurrence written as a body of nodes, which cannot be "
        "taken apart into steps. Export the model with an LSTM, GRU or RNN node, or export one "
        "step of it and name its states: --state IN=OUT."
    )


def test_files_that_are_no_models(tmp_path):
    """A file cut short, one without its weights and one of an old opset are refused."""
    file = write(tmp_path / "a.onnx", [recurrent("RNN")], weights("RNN"))
    file.write_bytes(file.read_bytes()[:200])
    assert refusal(file, SourceError) == (
        f"`{file}` is not an ONNX graph: it cannot be decoded as one. Save or download it again."
    )
    whole = onnx.load(write(tmp_path / "b.onnx", [recurrent("RNN")], weights("RNN")))
    onnx.save(whole, file, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert export(file).contract.step is not None
    (tmp_path / "w.bin").unlink()
    assert refusal(file, SourceError, force=True) == (
        f"`{file}` keeps its weights in `w.bin`, which is not beside it. Put both files into one "
        "folder."
    )
    file = write(tmp_path / "old.onnx", [recurrent("RNN")], weights("RNN"), opset=6)
    assert refusal(file) == (
        f"`{file}` is of ONNX opset 6; 7 to {OPSETS[-1]} can be read. Convert it with "
        "onnx.version_converter, or export the model again."
    )


def test_inputs_that_the_user_gives(tmp_path):
    """Specs and arrays take the place of what the file declares; wrong ones are refused."""
    file = write(tmp_path / "a.onnx", [recurrent("RNN")], weights("RNN"))
    artifact = export(file, inputs=["x:float32[sequence,1,2]"])
    assert shown(artifact)[0] == "x: float32[sequence, 1, 2]"
    artifact = export(file, inputs=(np.zeros((4, 3, 2), np.float32),), force=True)
    assert shown(artifact)[0] == "x: float32[sequence, batch, 2]"
    assert refusal(file, InputError, inputs=["z:float32[batch,2]"], force=True) == (
        f"`z` is not an input of `{file}`, which has `x`."
    )
    message = refusal(file, InputError, inputs=["x:float32[sequence,batch,4]"], force=True)
    assert message == (
        f"`{file}` fails on x:float32[sequence,batch,4]: InputError: it declares `x` as [T,B,2]"
    )
