"""ONNX files that are one step, by somebody else."""

from __future__ import annotations

import onnx
import pytest

from tests.export.onnx_exports import (
    export,
    shown,
)
from tests.export.onnx_graphs import detector, port, recurrent, weights, write


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


def test_a_file_of_one_step(tmp_path):
    """A file whose sequences have one step each keeps that axis and gets one for the steps."""
    fixed = port("x", [1, "B", 2])
    artifact = export(write(tmp_path / "one.onnx", [recurrent("GRU")], weights("GRU"), [fixed]))
    assert shown(artifact)[0] == "x: float32[1, batch, sequence, 2]"
    assert shown(artifact, "step")[0] == "x: float32[1, batch, 2]"
    operators = [node.op_type for node in onnx.load(str(artifact.sequence)).graph.node]
    assert operators.count("GRU") == 1
