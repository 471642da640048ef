"""Ifs of ONNX files that somebody else made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.nets.onnx_files import X, port, recurrent, weights, write
from tests.nets.torch_onnx import export, refusal, shown

RATE = port("rate", [], TensorProto.INT64)


def branch(name: str, nodes: list[Any], *outputs: str) -> Any:
    return helper.make_graph(nodes, name, [], [port(one, None) for one in outputs])


def chosen(path: Path, condition: list[Any], inputs: list[Any]) -> Path:
    """Write a file with a layer in each branch of an If; both name their values alike."""
    then, other = (
        branch(name, [recurrent("GRU", ("x", f"W{end}", f"R{end}", f"B{end}"), ("r",))], "r")
        for name, end in (("wide", ""), ("narrow", "2"))
    )
    choice = helper.make_node("If", ["flag"], ["y"], "choice", then_branch=then, else_branch=other)
    constants = {**weights("GRU"), **weights("GRU", suffix="2"), "wide": np.array(16000)}
    return write(path, [*condition, choice], constants, inputs)


EQUAL = [helper.make_node("Equal", ["rate", "wide"], ["flag"])]


def first(model: Path | None, feeds: dict[str, Any]) -> Any:
    return onnxruntime.InferenceSession(str(model)).run(None, feeds)[0]


@pytest.mark.parametrize("rate", [None, 16000, 8000])
def test_a_number_that_chooses_a_network(tmp_path, rate):
    """It is the value that the file asks for, said so, or the one that the user gives."""
    file = chosen(tmp_path / "two.onnx", EQUAL, [X, RATE])
    given = {} if rate is None else {"inputs": [f"rate:int64[]={rate}"]}
    artifact = export(file, **given)
    assert [one.name for one in artifact.contract.data_inputs("step")] == ["x"]
    assert artifact.contract.notes == (
        ()
        if rate
        else (
            "`rate` is the constant 16000, the value that If `choice` asks for: it chooses between "
            'networks. For another one give its value: inputs=["rate:int64[]=VALUE"].',
        )
    )
    assert {node.op_type for node in onnx.load(str(artifact.sequence)).graph.node} == {"GRU"}
    x = np.random.default_rng(1).standard_normal((4, 2, 2)).astype(np.float32)
    expected = first(file, {"x": x, "rate": np.array(rate or 16000)})
    got = first(artifact.sequence, {"x": x, "h_in": np.zeros((1, 2, 3), np.float32)})
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_choice_without_a_named_value(tmp_path):
    """A flag has to be given; the refusal has the line that works."""
    file = chosen(tmp_path / "two.onnx", [], [X, port("flag", [], TensorProto.BOOL)])
    assert refusal(file) == (
        f"If `choice` in `{file}` chooses by the input `flag` what runs, GRU `rec` among it; a "
        'graph has one network. Give the input as a constant: inputs=["flag:bool[]=true"].'
    )
    artifact = export(file, inputs=["flag:bool[]=true"])
    assert shown(artifact)[0] == "x: float32[sequence, batch, 2]"


def by_size(axis: int) -> list[Any]:
    """Return the nodes of a flag that is true where an axis of x is of one entry."""
    return [
        helper.make_node("Shape", ["x"], ["size"], start=axis, end=axis + 1),
        helper.make_node("Equal", ["size", "one"], ["single"]),
        helper.make_node("Squeeze", ["single"], ["flag"]),
    ]


def test_a_shape_that_chooses_around_a_layer(tmp_path):
    """An axis at which another branch runs is a constant; other axes stay free."""
    file = chosen(tmp_path / "two.onnx", by_size(1), [X])
    model = onnx.load(file)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    onnx.save(model, file)
    artifact = export(file)
    assert shown(artifact)[0] == "x: float32[sequence, 5, 2]"
    assert artifact.contract.notes[0] == (
        "Axis 1 of `x` (batch) is the constant 5: at 1 the file is another (it takes the other "
        "branch of If `choice`)."
    )
    alone = export(file, inputs=["x:float32[sequence,1,2]"], force=True)
    assert shown(alone)[0] == "x: float32[sequence, 1, 2]"


def test_a_shape_that_is_always_the_same(tmp_path):
    """An If behind the layer that takes one branch at every size is none in the graphs."""
    then = branch("drop", [helper.make_node("Squeeze", ["y", "one"], ["r"])], "r")
    other = branch("keep", [helper.make_node("Identity", ["y"], ["r"])], "r")
    nodes = [
        recurrent("GRU"),
        helper.make_node("Shape", ["y"], ["size"], start=1, end=2),
        helper.make_node("Equal", ["size", "one"], ["single"]),
        helper.make_node("Squeeze", ["single"], ["flag"]),
        helper.make_node("If", ["flag"], ["z"], then_branch=then, else_branch=other),
    ]
    file = write(tmp_path / "behind.onnx", nodes, {**weights("GRU"), "one": np.array([1])})
    artifact = export(file)
    assert shown(artifact)[2] == "z: float32[sequence, batch, 3]"
    for kind in ("sequence", "step"):
        graph = onnx.load(str(artifact.path / f"{kind}.onnx")).graph
        assert "If" not in {node.op_type for node in graph.node}


def detector(path: Path) -> Path:
    """Write a voice detector with one network for each sampling rate, like silero's.

    In each, convolutions stand before one LSTM step between Ifs on shapes, and one tensor holds h
    and c. Takes input (batch, samples), state (2, batch, 3) and rate; no size is named.
    """
    op = helper.make_node
    rng = np.random.default_rng(3)
    networks: list[Any] = []
    constants: dict[str, Any] = {
        "wide": np.array(16000),
        **{f"axis{axis}": np.array([axis]) for axis in range(3)},
        **{f"place{place}": np.array(place) for place in range(3)},
        "one": np.array(1),
    }
    for end, stride in (("", 128), ("2", 64)):
        constants |= weights("LSTM", suffix=end, width=4)
        constants[f"pad{end}"] = np.array([0, 0, 0, stride // 2])
        constants[f"basis{end}"] = rng.standard_normal((4, 1, 2 * stride)).astype(np.float32) / 9
        constants[f"mix{end}"] = rng.standard_normal((4, 4, 4)).astype(np.float32)
        drop = branch("drop", [op("Squeeze", ["heard", "axis2"], ["flat"])], "flat")
        keep = branch("keep", [op("Identity", ["heard"], ["same"])], "same")
        inner = [
            op("Gather", ["state", "place0"], ["h"]),
            op("Gather", ["state", "place1"], ["c"]),
            *(op("Unsqueeze", [one, "axis0"], [f"{one}0"]) for one in ("feature", "h", "c")),
            op(
                "LSTM",
                ["feature0", f"W{end}", f"R{end}", f"B{end}", "", "h0", "c0"],
                ["", "hn", "cn"],
                hidden_size=3,
            ),
        ]
        pair = branch("pair", inner, "hn", "cn")
        lone = branch("lone", [op("Identity", ["state"], [one]) for one in "hc"], "h", "c")
        nodes = [
            op("Pad", ["input", f"pad{end}"], ["padded"], mode="reflect"),
            op("Unsqueeze", ["padded", "axis1"], ["wave"]),
            op("Conv", ["wave", f"basis{end}"], ["frames"], strides=[stride]),
            op("Conv", ["frames", f"mix{end}"], ["mixed"], strides=[4]),
            op("Relu", ["mixed"], ["heard"]),
            op("Shape", ["heard"], ["heard_size"]),
            op("Gather", ["heard_size", "place2"], ["frame_count"]),
            op("Equal", ["frame_count", "one"], ["single"]),
            op("If", ["single"], ["feature"], then_branch=drop, else_branch=keep),
            op("Shape", ["state"], ["state_size"]),
            op("Gather", ["state_size", "place0"], ["count"]),
            op("Cast", ["count"], ["any"], to=TensorProto.BOOL),
            op("If", ["any"], ["next_h", "next_c"], then_branch=pair, else_branch=lone),
            op("Concat", ["next_h", "next_c"], ["next"], axis=0),
            op("Squeeze", ["next_h", "axis0"], ["score"]),
        ]
        networks.append(branch(f"network{end}", nodes, "score", "next"))
    choice = op(
        "If",
        ["flag"],
        ["output", "stateN"],
        "If_0",
        then_branch=networks[0],
        else_branch=networks[1],
    )
    inputs = [port("input", ["", ""]), port("state", [2, "", 3]), RATE]
    return write(path, [*EQUAL, choice], constants, inputs)


@pytest.mark.parametrize(("rate", "window"), [(16000, 576), (8000, 288)])
def test_a_detector_for_two_sampling_rates(tmp_path, rate, window):
    """It exports as it is: the rate, the branches and the window are found by running it."""
    file = detector(tmp_path / "voice.onnx")
    artifact = export(file, inputs=None if rate == 16000 else {"rate": rate})
    assert shown(artifact) == [
        f"input: float32[batch, sequence, {window}]",
        "state_in: float32[2, batch, 3]",
        "output: float32[batch, sequence, 3]",
        "state_out: float32[2, batch, 3]",
    ]
    assert artifact.contract.notes[-1] == (
        f"Axis 1 of `input` is the constant {window}, a guess: the file runs at it, but not at all "
        "sizes, and does not tell which one it was trained with. If that is another, give it: "
        f'inputs=["input:float32[batch,{window}]"].'
    )
    operators = {node.op_type for node in onnx.load(str(artifact.sequence)).graph.node}
    assert "LSTM" in operators
    assert not operators & {"If", "Scan", "Loop"}
