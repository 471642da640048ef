"""Recurrent nodes as anybody may write them, brought into the plain form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgernn.export.foreign.canonicalize import canonical_attributes, remove_lengths
from edgernn.export.ir.onnx_session import OnnxSession
from tests.nets.onnx_files import GATES, HIDDEN, WIDTH, port, recurrent, weights, write
from tests.nets.torch_onnx import (
    export,
    refusal,
    shown,
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


@pytest.mark.parametrize(
    ("op", "attributes", "parts", "expected"),
    [
        ("LSTM", {}, [0], {"hidden_size": 3}),
        ("LSTM", {"direction": "bidirectional"}, [0, 1], {"direction": "bidirectional"}),
        ("LSTM", {"direction": "reverse"}, [0], {"hidden_size": 3}),
        ("GRU", {"linear_before_reset": 1}, [0], {"linear_before_reset": 1}),
        ("RNN", {"activations": ["relu"]}, [0], {"activations": ["Relu"]}),
        (
            "RNN",
            {"direction": "bidirectional", "activations": ["Relu", "Tanh"]},
            [1],
            {"activations": ["Tanh"]},
        ),
    ],
)
def test_attributes_of_some_directions(tmp_path, op, attributes, parts, expected):
    """What the operator needs and no more; an only direction is forward."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    nodes, x = [recurrent(op, **attributes)], port("x", ["T", "B", 2])
    model = ir.load(write(tmp_path / "m.onnx", nodes, weights(op, directions), [x]))
    found = canonical_attributes(model.graph[0], 3, parts)
    default = {"activations": ["Tanh"]} if op == "RNN" else {}
    assert found == {"hidden_size": 3, **default, **expected}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_results_without_lengths_are_those_of_the_node(tmp_path, op, direction):
    """Outputs are zero after the ends, and final states are those at the ends."""
    directions = 2 if direction == "bidirectional" else 1
    states = ["h", "c"] if op == "LSTM" else ["h"]
    finals = [f"{state}_end" for state in states]
    node = recurrent(op, ("x", "W", "R", "B", "lengths", *states), ("y", *finals))
    for name, value in (("direction", direction), *[("linear_before_reset", 1)] * (op == "GRU")):
        node.attribute.append(ir.to_proto(ir.convenience.convert_attribute(name, value)))
    shapes: dict[str, list[int | str]] = {
        "x": ["T", "B", WIDTH],
        **{one: [directions, "B", HIDDEN] for one in states},
    }
    inputs = [*(port(name, shape) for name, shape in shapes.items()), port("lengths", ["B"], 6)]
    file = write(tmp_path / "m.onnx", [node], weights(op, directions), inputs)
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((5, 3, WIDTH)).astype(np.float32),
        **{one: rng.standard_normal((directions, 3, HIDDEN)).astype(np.float32) for one in states},
        "lengths": np.array([5, 1, 3], np.int32),
    }
    expected = OnnxSession(str(file))(feeds)

    model = ir.load(file)
    remove_lengths(model.graph, model.graph[0])

    left = [node for node in model.graph if node.op_type == op]
    assert len(left) == directions
    assert {(node.inputs[4], "direction" in node.attributes) for node in left} == {(None, False)}
    got = OnnxSession(ir.to_proto(model).SerializeToString())(feeds)
    assert list(got) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, atol=1e-6, err_msg=name)
