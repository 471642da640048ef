"""The rules for ONNX files that somebody else made: what other exporters write."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from edgernn.errors import EdgernnError
from edgernn.export.verify import verify_artifact
from tests.nets.onnx_files import port, recurrent, weights, write
from tests.nets.torch_onnx import (
    REFERENCE,
    TOKENS,
    Tagger,
    export,
    from_torch,
    shown,
)


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
        "Axis 1 of `input.1` (sequence) is the constant 5: the file itself fails at other sizes "
        "(it declares `input.1` as [2,5]).",
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


def strided_file(path, kernel_size, stride):
    """Write a file whose GRU runs on the frames of a convolution with strides."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["frames"], strides=[stride]),
        helper.make_node("Transpose", ["frames"], ["steps"], perm=[2, 0, 1]),
        recurrent("GRU", ("steps", "W", "R", "B")),
    ]
    kernel = np.random.default_rng(2).standard_normal((4, 2, kernel_size)).astype(np.float32)
    constants = {**weights("GRU", width=4), "kernel": kernel}
    return write(path, nodes, constants, [port("x", ["B", 2, "T"])])


def test_a_stride_that_rounds_up(tmp_path):
    """Each eighth step gives one frame: the hop is eight steps."""
    file = strided_file(tmp_path / "stride.onnx", kernel_size=1, stride=8)
    assert "y: float32[sequence//8, 1, batch, 3]" in shown(export(file))


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


def test_a_convolution_with_strides(tmp_path):
    """The size of an output that follows from an input's is written as an expression."""
    file = strided_file(tmp_path / "conv.onnx", kernel_size=5, stride=2)
    artifact = export(file)
    assert shown(artifact) == [
        "x: float32[batch, 2, sequence]",
        "h_in: float32[1, batch, 3]",
        "conv_context_in: float32[batch, 2, 4]",
        "position_in: int64[batch]",
        "y: float32[sequence//2, 1, batch, 3]",
        "h_out: float32[1, batch, 3]",
        "conv_context_out: float32[batch, 2, 4]",
        "position_out: int64[batch]",
    ]
    assert artifact.contract.hop == 2
    assert artifact.contract.delays == {"y": 2}
    assert list(artifact.contract.graphs) == ["sequence", "step"]


def test_steps_and_sequences_in_one_axis(tmp_path):
    """An output that counts steps and sequences together says which is the outer one."""
    flat = helper.make_node("Reshape", ["y", "to"], ["z"])
    constants = {**weights("GRU"), "to": np.array([-1, 3])}
    artifact = export(write(tmp_path / "flat.onnx", [recurrent("GRU"), flat], constants))
    assert artifact.contract.graphs["sequence"].output("z").shape == ("sequence*batch", 3)
    assert artifact.contract.step is not None


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
