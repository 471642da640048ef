"""ONNX files that are one step, by somebody else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.nets.onnx_files import GATES, detector, port, recurrent, weights, write
from tests.nets.torch_onnx import (
    export,
    shown,
)


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


@pytest.mark.parametrize("op", GATES)
def test_a_file_of_one_step(tmp_path, op):
    """The axis of size 1 that a file has for its one step becomes the sequence."""
    fixed = port("x", [1, "B", 2])
    artifact = export(write(tmp_path / "one.onnx", [recurrent(op)], weights(op), [fixed]))
    assert shown(artifact)[0] == "x: float32[sequence, batch, 2]"
    assert "y: float32[sequence, 1, batch, 3]" in shown(artifact)
    assert shown(artifact, "step")[0] == "x: float32[batch, 2]"
    assert "y: float32[1, batch, 3]" in shown(artifact, "step")
    operators = [node.op_type for node in onnx.load(str(artifact.sequence)).graph.node]
    assert operators.count(op) == 1
    assert "Scan" not in operators


def test_one_step_of_one_sequence(tmp_path):
    """Of two axes of size 1 that one is the sequence along which the layer runs."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        recurrent("GRU", ("steps", "W", "R", "B", "", "h"), ("y", "h_next")),
        helper.make_node("Squeeze", ["y", "axes"], ["rows"]),
        helper.make_node("MatMul", ["rows", "head"], ["scores"]),
    ]
    constants = {
        **weights("GRU"),
        "axes": np.array([0, 1]),
        "head": np.ones((3, 2), np.float32),
    }
    file = write(
        tmp_path / "one.onnx",
        nodes,
        constants,
        [port("x", [1, 1, 2]), port("h", [1, 1, 3])],
        [port("scores", [1, 2]), port("h_next", [1, 1, 3])],
    )
    artifact = export(file)
    assert shown(artifact) == [
        "x: float32[1, sequence, 2]",
        "h_in: float32[1, 1, 3]",
        "scores: float32[sequence, 1, 2]",
        "h_out: float32[1, 1, 3]",
    ]
    assert shown(artifact, "step")[0] == "x: float32[1, 2]"


def test_ids_of_one_step(tmp_path):
    """An embedding in front does not hide the axis of the step."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        recurrent("LSTM", ("x", "W", "R", "B", "", "h", "c"), ("y", "hn", "cn")),
    ]
    table = np.random.default_rng(1).standard_normal((7, 2)).astype(np.float32)
    state = ["h", "c"]
    file = write(
        tmp_path / "ids.onnx",
        nodes,
        {**weights("LSTM"), "table": table},
        [port("ids", [1, "B"], TensorProto.INT64), *(port(one, [1, "B", 3]) for one in state)],
        [port(one, None) for one in ("y", "hn", "cn")],
    )
    artifact = export(file)
    assert shown(artifact)[0] == "ids: int64[sequence, batch]"
    assert shown(artifact, "step")[0] == "ids: int64[batch]"


def test_one_step_that_is_written_down(tmp_path):
    """Where the file writes the one step into the shape of an output, that gets one more axis."""
    nodes = [
        recurrent("GRU"),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
    ]
    constants = {**weights("GRU"), "shape": np.array([1, -1, 3])}
    fixed = port("x", [1, 2, 2])
    artifact = export(write(tmp_path / "one.onnx", nodes, constants, [fixed]))
    assert shown(artifact)[0] == "x: float32[sequence, 2, 2]"
    assert "z: float32[sequence, 1, 2, 3]" in shown(artifact)
    assert "z: float32[1, 2, 3]" in shown(artifact, "step")
