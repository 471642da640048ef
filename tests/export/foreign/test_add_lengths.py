"""Lengths of sequences in ONNX files that somebody else made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from torch import nn, randn, tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgernn.artifact import Artifact
from edgernn.errors import InputError
from edgernn.export.verify import verify_artifact
from tests.nets.onnx_files import GATES, X, port, recurrent, weights, write
from tests.nets.torch_onnx import export, from_torch, refusal, shown

LENGTHS = port("lens", ["B"], TensorProto.INT32)
STATES = {"LSTM": ["h", "c"], "GRU": ["h"], "RNN": ["h"]}


def ended(path: Path, op: str, direction: str) -> Path:
    """Write a file whose one node gets `sequence_lens` from the input and returns all it has."""
    outputs = ["y", *(f"y_{state}" for state in STATES[op])]
    node = recurrent(op, ("x", "W", "R", "B", "lens"), outputs, direction=direction)
    directions = 2 if direction == "bidirectional" else 1
    return write(path, [node], weights(op, directions), [X, LENGTHS])


def runs_alike(file: Path, artifact: Artifact, feeds: dict[str, Any], batch: int) -> None:
    """Compare the outputs of a file with those of its sequence graph, from zero states."""
    states = {s.input: artifact.contract.initial(s, batch) for s in artifact.contract.states}
    expected: Any = onnxruntime.InferenceSession(str(file)).run(None, feeds)
    session = onnxruntime.InferenceSession(str(artifact.sequence))
    got: Any = session.run(None, {**feeds, **states})
    for ours, theirs in zip(got[: len(expected)], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_lengths_from_the_input(tmp_path, op, direction):
    """Lengths stay an input of their name, and nothing in the graph is `sequence_lens`."""
    file = ended(tmp_path / "l.onnx", op, direction)
    artifact = export(file)
    assert artifact.contract.lengths == ("lens",)
    assert str(artifact.contract.graphs["sequence"].input("lens")) == "lens: int32[batch]"
    assert (artifact.contract.step is None) == (direction != "forward")
    nodes = onnx.load(str(artifact.sequence)).graph.node
    assert not any(node.input[4] for node in nodes if node.op_type in GATES)
    assert not any(attr.name == "direction" for node in nodes for attr in node.attribute)
    x = np.random.default_rng(1).standard_normal((6, 4, 2)).astype(np.float32)
    runs_alike(file, artifact, {"x": x, "lens": np.array([6, 1, 3, 5], np.int32)}, 4)


def test_a_step_has_no_lengths(tmp_path):
    """The step graph of a file with lengths has no port for them."""
    artifact = export(ended(tmp_path / "l.onnx", "GRU", "forward"))
    assert shown(artifact, "step") == [
        "x: float32[batch, 2]",
        "h_in: float32[1, batch, 3]",
        "y: float32[1, batch, 3]",
        "h_out: float32[1, batch, 3]",
    ]


def test_lengths_that_are_more_than_that(tmp_path):
    """Where the file computes with the lengths too, there is no step graph."""
    nodes = [
        recurrent("GRU", ("x", "W", "R", "B", "lens")),
        helper.make_node("Div", ["lens", "lens"], ["one"]),
        helper.make_node("Cast", ["one"], ["scale"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["scale", "last"], ["scales"]),
        helper.make_node("Mul", ["y", "scales"], ["z"]),
    ]
    file = write(
        tmp_path / "l.onnx", nodes, {**weights("GRU"), "last": np.array([1])}, [X, LENGTHS]
    )
    artifact = export(file)
    assert artifact.contract.notes == (
        "There is no step graph: the file does more with `lens` than to end its sequences: a "
        "single step has no lengths.",
    )


def test_lengths_counted_from_a_mask(tmp_path):
    """Lengths that the file computes end the sequences; a step has none."""
    nodes = [
        helper.make_node("ReduceSum", ["mask", "axis"], ["lens"], keepdims=0),
        recurrent("RNN", ("x", "W", "R", "B", "lens"), ("y", "y_h")),
    ]
    mask = port("mask", ["T", "B"], TensorProto.INT32)
    file = write(tmp_path / "m.onnx", nodes, {**weights("RNN"), "axis": np.array([0])}, [X, mask])
    artifact = export(file)
    assert artifact.contract.lengths == ()
    assert artifact.contract.notes == (
        "There is no step graph: its sequences end at lengths that the file computes from `mask`.",
    )
    x = np.random.default_rng(1).standard_normal((6, 3, 2)).astype(np.float32)
    ones = (np.arange(6)[:, None] < [6, 2, 4]).astype(np.int32)
    runs_alike(file, artifact, {"x": x, "mask": ones}, 3)


class Packed(nn.Module):
    """A bidirectional layer over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        y, (h, _) = self.rnn(packed)
        return pad_packed_sequence(y, batch_first=True)[0], h


def test_packed_sequences_that_torch_wrote(tmp_path):
    """What torch's older exporter makes of packing is taken with its lengths."""
    file = from_torch(
        tmp_path / "packed.onnx",
        Packed(),
        (randn(2, 5, 3), tensor([5, 3])),
        dynamo=False,
        input_names=["x", "lengths"],
        output_names=["y", "h"],
        dynamic_axes={"x": {0: "b", 1: "t"}, "lengths": {0: "b"}},
    )
    artifact = export(file)
    assert shown(artifact)[:2] == ["x: float32[batch, sequence, 3]", "lengths: int64[batch]"]
    assert artifact.contract.lengths == ("lengths",)
    x = np.random.default_rng(1).standard_normal((3, 6, 3)).astype(np.float32)
    runs_alike(file, artifact, {"x": x, "lengths": np.array([6, 3, 1])}, 3)


def test_constant_lengths(tmp_path):
    """Constant lengths short of the end are refused; full ones are dropped."""
    node = recurrent("GRU", ("x", "W", "R", "B", "lens"))
    fixed = port("x", [4, 2, 2])
    short = {**weights("GRU"), "lens": np.array([4, 3], np.int32)}
    file = write(tmp_path / "c.onnx", [node], short, [fixed])
    assert refusal(file) == (
        f"GRU `rec` in `{file}` ends its sequences at the constant lengths 4, 3 (sequence_lens) "
        "of 4 steps. Cut the input to that length and export the model without lengths."
    )
    full = {**weights("GRU"), "lens": np.array([4, 4], np.int32)}
    write(file, [node], full, [fixed])
    written = onnx.load(str(export(file).sequence))
    assert [one.input[4] for one in written.graph.node] == [""]


def test_lengths_of_one_step(tmp_path):
    """A file of one step with lengths is refused: one step cannot end."""
    inputs = [port("x", [1, "B", 2]), LENGTHS, port("h", [1, "B", 3])]
    node = recurrent("GRU", ("x", "W", "R", "B", "lens", "h"), ("y", "h_next"))
    file = write(tmp_path / "s.onnx", [node], weights("GRU"), inputs)
    assert refusal(file) == (
        f"`{file}` is one step, which cannot end at the lengths of sequences that `lens` gives. "
        "Export it without lengths."
    )


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_lengths_in_int8(tmp_path, op):
    """What holds a state still is no weight, and takes no digits from the weights beside it."""
    artifact = export(ended(tmp_path / "l.onnx", op, "forward"), precision="int8")
    assert artifact.parity is not None
    assert max(check.difference for check in artifact.parity.checks) < 0.02


def test_lengths_for_a_file_without(tmp_path):
    """`lengths` adds the input that ends the sequences of every node."""
    nodes = [
        recurrent("GRU", outputs=("u",)),
        helper.make_node("Squeeze", ["u", "one"], ["v"]),
        recurrent("LSTM", ("v", "W2", "R2", "B2"), ("y", "y_h"), name="second"),
    ]
    constants = {**weights("GRU"), **weights("LSTM", suffix="2", width=3), "one": np.array([1])}
    artifact = export(write(tmp_path / "two.onnx", nodes, constants), lengths=True)
    assert shown(artifact)[:2] == ["x: float32[sequence, batch, 2]", "lengths: int64[batch]"]
    assert artifact.contract.lengths == ("lengths",)
    assert artifact.parity is not None
    assert artifact.parity.reference == (
        "the original file with lengths for its nodes, in ONNX Runtime"
    )
    assert shown(artifact, "step")[0] == "x: float32[batch, 2]"
    report = verify_artifact(artifact, tmp_path / "two.onnx")
    assert report.passed


def test_lengths_that_cannot_be_added(tmp_path):
    """A file without recurrent nodes and one with another input of the name are refused."""
    tanh = [helper.make_node("Tanh", ["x"], ["y"])]
    file = write(tmp_path / "none.onnx", tanh, {})
    assert refusal(file, lengths=True) == (
        f"`{file}` has no LSTM, GRU or RNN node whose sequences could end at lengths. Export it "
        "without `lengths`."
    )
    scaled = helper.make_node("Mul", ["x", "lengths"], ["scaled"])
    nodes = [scaled, recurrent("RNN", ("scaled", "W", "R", "B"))]
    file = write(tmp_path / "taken.onnx", nodes, weights("RNN"), [X, port("lengths", [1])])
    assert refusal(file, InputError, lengths=True) == (
        f"`{file}` has an input `lengths` already, which is not that of its recurrent nodes. "
        "Export it without `lengths`."
    )
