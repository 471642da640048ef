"""Forms in place of the portable graphs, by the sizes of a call."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import onnx
import pytest

import edgernn
from edgernn.errors import ContractError
from tests.nets.step_forms import Elman, Lstm, Tagger, exported

pytestmark = pytest.mark.forms


@pytest.fixture(scope="module")
def model():
    return edgernn.load(exported(Lstm).path)


@pytest.fixture(scope="module")
def portable():
    return edgernn.load(exported(Lstm).path, forms=False)


@pytest.mark.parametrize("batch", [1, 32, 33])
def test_a_form_computes_what_the_portable_graph_does(model, portable, batch):
    """At any batch, a stream gives the same numbers with forms and without."""
    x = np.random.default_rng(0).normal(size=(9, batch, 3)).astype(np.float32)
    streams = model.stream(batch), portable.stream(batch)
    for step in x:
        one, other = (stream.step(step) for stream in streams)
        assert one.shape == (batch, 4)
        np.testing.assert_allclose(one, other, atol=1e-6)
    streams[0].restore(streams[1].snapshot())
    one, other = (stream.step(x[0]) for stream in streams)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_ids_and_several_layers_run_in_a_form():
    """Inputs without features and stacked states run as in the portable graph."""
    streams = [
        edgernn.load(exported(Tagger).path, forms=forms).stream(2) for forms in (True, False)
    ]
    for ids in ([1, 2], [6, 0]):
        one, other = (stream.step(np.array(ids)) for stream in streams)
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_form_is_opened_where_it_applies(tmp_path):
    """Within its bounds its file is read; outside of them, the portable graph's."""
    path = shutil.copytree(exported(Lstm).path, tmp_path / "m.edgernn")
    (path / "step.onnx").write_bytes(b"")
    model = edgernn.load(path)
    model.stream(32).step(np.zeros((32, 3), np.float32))
    with pytest.raises(ContractError, match="belongs to another artifact"):
        model.stream(33).step(np.zeros((33, 3), np.float32))


def test_forms_are_shown_and_can_be_refused(model, portable):
    """The facts of a model have its forms, or say that they are not used, also with `auto`."""
    assert "form      step-operator on cpu, batch 1 to 32" in repr(model).splitlines()
    for refused in (portable, edgernn.load(exported(Lstm).path, "auto", forms=False)):
        assert "forms     not used: loaded with forms=False" in repr(refused).splitlines()


def test_a_form_with_other_ports_is_refused(tmp_path):
    """Additional axes are of size 1; states have none."""
    path = shutil.copytree(exported(Lstm).path, tmp_path / "m.edgernn")
    file = path / "forms" / "step-operator.onnx"
    form = onnx.load(file)
    form.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    file.write_bytes(form.SerializeToString())
    table = json.loads((path / "contract.json").read_text())
    table["sha256"]["forms/step-operator.onnx"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / "contract.json").write_text(json.dumps(table))
    with pytest.raises(ContractError) as caught:
        edgernn.load(path).stream().step(np.zeros((1, 3), np.float32))
    assert str(caught.value) == (
        f"`{file}` has inputs x: float32[2, batch, 3], h_in: float32[1, batch, 4], c_in: "
        "float32[1, batch, 4]; the contract promises x: float32[batch, 3], h_in: float32[1, batch, "
        "4], c_in: float32[1, batch, 4]. Export the model again."
    )


def test_whole_sequences_run_in_a_form():
    """From its least batch and steps on, with the numbers of the portable graph."""
    model, portable = (edgernn.load(exported(Elman).path, forms=forms) for forms in (True, False))
    rng = np.random.default_rng(0)
    for batch, steps in ((2, 8), (5, 30), (1, 8), (2, 7)):
        x = rng.normal(size=(batch, steps, 3)).astype(np.float32)
        np.testing.assert_allclose(model(x), portable(x), atol=1e-6)
        state = model.run({"x": x}).state["h"]
        np.testing.assert_allclose(state, portable.run({"x": x}).state["h"], atol=1e-6)


@pytest.mark.parametrize(("wanted", "cores", "expected"), [(64, 2, 2), (1, 2, 1), (8, None, 1)])
def test_a_form_takes_no_more_threads_than_cores(tmp_path, monkeypatch, wanted, cores, expected):
    """A form that was tuned on a larger machine runs with the threads that there are cores for."""
    folder = tmp_path / "m.edgernn"
    shutil.copytree(exported(Lstm).path, folder)
    content = json.loads((folder / "contract.json").read_text())
    content["forms"][0]["threads"] = wanted
    (folder / "contract.json").write_text(json.dumps(content))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    stream = edgernn.load(folder).stream()
    stream.step(np.zeros((1, 3), np.float32))
    session = stream._sessions.open_for("step", {"batch": 1})
    assert session.get_session_options().intra_op_num_threads == expected
