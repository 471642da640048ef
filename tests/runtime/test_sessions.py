"""Graphs loaded into ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

import edgernn
from edgernn.contract import Graph
from edgernn.errors import ContractError
from edgernn.runtime.sessions import session_options
from edgernn.vocabulary import Vocabulary
from tests.nets import embedded_lstm


def rewritten(path, kind, proto):
    """Put another graph into an artifact, with the right digest."""
    data = proto.SerializeToString()
    (path / f"{kind}.onnx").write_bytes(data)
    table = json.loads((path / "contract.json").read_text())
    table["sha256"][f"{kind}.onnx"] = hashlib.sha256(data).hexdigest()
    (path / "contract.json").write_text(json.dumps(table))
    return path / f"{kind}.onnx"


@pytest.fixture
def path(tmp_path):
    return embedded_lstm.write_lstm(tmp_path / "m.edgernn", embedded_lstm.contract())


def refused(path):
    with pytest.raises(ContractError) as caught:
        edgernn.load(path).stream().step([1])
    return str(caught.value)


def test_a_graph_of_another_family_is_refused(path):
    """Even with the right digest, the family in the graph must be that of the contract."""
    other = embedded_lstm.contract(family="0ther")
    file = rewritten(path, "step", embedded_lstm.lstm(other, "step"))
    assert refused(path) == (
        f"`{file}` is of family 0ther, `contract.json` of f00d. Graphs of two exports must "
        "not be mixed; copy the whole folder."
    )


def test_a_graph_of_the_other_kind_is_refused(path):
    """step.onnx must say that it is a step graph."""
    file = rewritten(path, "step", embedded_lstm.lstm(embedded_lstm.contract(), "sequence"))
    assert refused(path) == f"`{file}` is a sequence graph, not a step graph."


def test_a_graph_with_other_ports_is_refused(path):
    """The ports' names and dtypes must be the contract's."""
    ports = embedded_lstm.step_ports()
    words = replace(ports.inputs[0], name="words")
    promise = embedded_lstm.contract(
        graphs={"step": Graph((words, *ports.inputs[1:]), ports.outputs)}
    )
    nodes = embedded_lstm.step_nodes()
    nodes[0].input[1] = "words"
    file = rewritten(
        path, "step", embedded_lstm.model(nodes, promise, "step", embedded_lstm.constants())
    )
    rest = "`h_in: float32[1, batch, 4]`, `c_in: float32[1, batch, 4]`".replace("`", "")
    assert refused(path) == (
        f"`{file}` has inputs words: int64[batch] below 5, {rest}; the contract promises "
        f"tokens: int64[batch] below 5, {rest}. Export the model again."
    )


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("`carry`", {"carry": False}),
        ("bounds", {"most": {"batch": 9}}),
        ("hop, delays or padding", {"sample_rate": 8000.0}),
        ("vocabulary", {"vocabulary": Vocabulary(("a", "b", "c", "d", "e"))}),
    ],
)
def test_other_metadata_is_refused(path, what, changes):
    """Metadata that differs from contract.json is refused."""
    other = embedded_lstm.contract(**changes)
    file = rewritten(path, "step", embedded_lstm.lstm(other, "step"))
    assert refused(path) == (
        f"The metadata of `{file}` and `contract.json` have different {what}. Export the model "
        "again."
    )


def test_a_graph_of_another_version_is_refused(path):
    """The version in the graph is checked like the one in contract.json."""
    proto = embedded_lstm.lstm(embedded_lstm.contract(), "step")
    table = {entry.key: entry.value for entry in proto.metadata_props}
    helper.set_model_props(proto, {**table, "edgernn.contract": "9"})
    file = rewritten(path, "step", proto)
    assert refused(path) == (
        f"`{file}` is of contract version 9; this edgernn reads version 1. Export the model "
        "again, or install the edgernn that wrote it."
    )


def test_a_changed_graph_is_refused(path):
    """One byte more in the graph is found by its digest, before it is loaded."""
    with (path / "step.onnx").open("ab") as file:
        file.write(b"\0")
    digest = hashlib.sha256((path / "step.onnx").read_bytes()).hexdigest()
    recorded = json.loads((path / "contract.json").read_text())["sha256"]["step.onnx"]
    assert refused(path) == (
        f"`{path / 'step.onnx'}` was changed after the export: its SHA-256 is {digest[:12]}…, the "
        f"contract has {recorded[:12]}…. Export the model again."
    )


def test_a_port_that_is_no_array_is_refused(tmp_path):
    """A graph with a port of strings is refused."""
    node = helper.make_node("Identity", ["x"], ["y"])
    text = onnx.TensorProto.STRING
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", text, [1])],
        [helper.make_tensor_value_info("y", text, [1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(proto, tmp_path / "text.onnx")
    with pytest.raises(ContractError) as caught:
        edgernn.load(tmp_path / "text.onnx")
    assert str(caught.value) == (
        f"`{tmp_path / 'text.onnx'}` has port `x` of type tensor(string); a contract's ports are "
        "tensors of float32, float16, float64, int64, int32, int16, int8, uint64, uint32, uint16, "
        "uint8, bool."
    )


def test_axes_without_a_name_are_open(tmp_path):
    """An axis that the ONNX file leaves unnamed takes any size."""
    ports = embedded_lstm.step_ports()
    promise = embedded_lstm.contract(kinds=("step",))
    proto = embedded_lstm.lstm(promise, "step")
    proto.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    onnx.save(proto, tmp_path / "step.onnx")
    model = edgernn.load(tmp_path / "step.onnx")
    assert model.contract.graphs["step"].inputs[0] == replace(
        ports.inputs[0], shape=("?",), origin=None
    )
    stepped = model.stream().step([1])
    np.testing.assert_allclose(stepped, embedded_lstm.reference(np.array([[1]]))[0][0], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "threads", "expected"),
    [("step", None, 1), ("sequence", None, 0), ("step", 3, 3), ("sequence", 3, 3)],
)
def test_threads_follow_the_graph(kind, threads, expected):
    """A stream takes one thread and a batch all cores (0), unless a number is given; none spin."""
    options = session_options(kind, threads)
    assert options.intra_op_num_threads == expected
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_mem_pattern is (kind == "step")


def test_a_session_is_opened_once(path):
    """Streams share the sessions of their model."""
    model = edgernn.load(path)
    model.stream().step([1])
    assert model._sessions.open("step") is model._sessions.open("step")
