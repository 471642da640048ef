"""Whole sequences through a loaded artifact."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest

import edgernn
from edgernn.errors import ContractError, InputError, ProviderError
from tests.nets import embedded_lstm

TOKENS = np.array([[1, 0], [2, 4], [3, 3]])


def test_a_call_runs_whole_sequences_from_the_initial_state(any_model):
    """The model keeps no state: the same call gives the same output, by position or by name."""
    expected = embedded_lstm.reference(TOKENS)[0]
    np.testing.assert_allclose(any_model(TOKENS), expected, atol=1e-6)
    np.testing.assert_allclose(any_model(tokens=TOKENS), expected, atol=1e-6)


def test_run_takes_and_returns_the_state(any_model):
    """Outputs are returned by port name, states by state name; a run takes a state."""
    first = any_model.run({"tokens": TOKENS[:2]})
    second = any_model.run({"tokens": TOKENS[2:]}, state=first.state)
    output, h, c = embedded_lstm.reference(TOKENS)
    assert list(second.outputs) == ["output"]
    assert list(second.state) == ["h", "c"]
    np.testing.assert_allclose(second.outputs["output"], output[2:], atol=1e-6)
    np.testing.assert_allclose(second.state["h"], h, atol=1e-6)
    np.testing.assert_allclose(second.state["c"], c, atol=1e-6)


def test_several_outputs_come_by_name(leaky):
    """A model with several outputs returns them by name, and starts from the learned state."""
    outputs = leaky(np.zeros((1, 1, 2)), np.zeros((1, 1, 1)))
    np.testing.assert_array_equal(outputs["level"], [[[1.5, -0.5]]])
    np.testing.assert_array_equal(outputs["double"], [[[3, -1]]])


def test_a_model_says_what_it_is(model, lstm):
    """Contract, artifact and provider are the model's attributes."""
    assert model.contract == edgernn.Artifact.open(lstm).contract
    assert model.artifact is not None
    assert model.artifact.path == lstm
    assert model.provider == "cpu"


@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_one_file_is_enough(lstm, kind):
    """A single graph runs with the contract in its metadata, including the limit of ids."""
    model = edgernn.load(lstm / f"{kind}.onnx", threads=1)
    assert model.artifact is None
    assert list(model.contract.graphs) == [kind]
    stream, expected = model.stream(2), embedded_lstm.reference(TOKENS)[0]
    np.testing.assert_allclose(stream.step(TOKENS[0]), expected[0], atol=1e-6)
    np.testing.assert_allclose(stream.feed(TOKENS[1:]), expected[1:], atol=1e-6)
    with pytest.raises(InputError) as caught:
        stream.step([0, 5])
    assert str(caught.value) == (
        "`tokens: int64[batch]` has id 5 at (1,); the model knows ids 0 to 4."
    )


def test_a_learned_initial_state_is_in_the_metadata(leaky):
    """A step graph alone starts from its learned initial state."""
    assert leaky.artifact is not None
    stream = edgernn.load(leaky.artifact.path / "step.onnx").stream()
    np.testing.assert_array_equal(stream.snapshot()["s"], [[[3, -1]]])


def test_what_does_not_exist_is_refused(tmp_path):
    """A path with nothing there, and a folder that is not an artifact, are refused."""
    with pytest.raises(ContractError) as caught:
        edgernn.load(tmp_path / "none")
    assert str(caught.value) == (
        f"`{tmp_path / 'none'}` does not exist: there is no `contract.json` in it. "
        "`edgernn export MODEL` writes an artifact."
    )


def test_a_graph_without_a_contract_is_refused(tmp_path):
    """An ONNX file that edgernn did not write is refused with the remedy."""
    proto = embedded_lstm.lstm(embedded_lstm.contract(), "step")
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "plain.onnx")
    with pytest.raises(ContractError) as caught:
        edgernn.load(tmp_path / "plain.onnx")
    assert str(caught.value) == (
        f"`{tmp_path / 'plain.onnx'}` carries no edgernn contract. Export the model with "
        "`edgernn export`."
    )


@pytest.mark.parametrize(
    "content",
    [b"no graph", b"", b"\x08\x0a\x12\x05ab", b"\x08\x0a\x12\x03abc\x3a{", b"PK\x03\x04 x.npy"],
)
def test_a_file_that_is_no_graph_is_refused(tmp_path, content):
    """A file that ONNX Runtime cannot parse is refused with a message of edgernn."""
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ContractError) as caught:
        edgernn.load(tmp_path / "x.onnx")
    assert str(caught.value) == (
        f"`{tmp_path / 'x.onnx'}` is not an ONNX graph, or not a whole one: ONNX Runtime cannot "
        "parse it. `edgernn export MODEL` writes graphs."
    )


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04rest", b"\x80\x02\x8a", b"\x80\x04K", b"\x07" + 7 * b"\0" + b'{"a":1}'],
    ids=["archive", "legacy", "pickle", "safetensors"],
)
def test_a_model_that_is_to_be_exported_is_refused(tmp_path, content):
    """A model file of torch's is named as one, with the command that makes an artifact of it."""
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(ContractError) as caught:
        edgernn.load(path)
    assert str(caught.value) == (
        f"`{path}` is a file of PyTorch's, not an artifact or an ONNX graph. Write an artifact "
        f"from it first: `edgernn export {path}`."
    )


@pytest.mark.parametrize("threads", [0, 1025, 100_000])
def test_threads_are_within_bounds(lstm, threads):
    """0 would mean all cores to ONNX Runtime, which starts as many as are asked for."""
    with pytest.raises(InputError) as caught:
        edgernn.load(lstm, threads=threads)
    assert str(caught.value) == (
        f"`threads` is {threads:,}; it must be at least 1 and at most 1,024."
    )


def test_an_unknown_provider_is_refused(lstm):
    """The refusal lists the providers that have a name here."""
    with pytest.raises(ProviderError) as caught:
        edgernn.load(lstm, provider="tpu")
    assert str(caught.value) == (
        "`tpu` is not a provider; known are: auto, cpu, cuda, tensorrt, openvino, directml, coreml."
    )


def test_importing_the_runtime_imports_no_engine():
    """Until load is called neither onnxruntime nor torch nor onnx is imported."""
    script = (
        "import sys, edgernn.runtime; "
        "print(sorted({'onnxruntime', 'torch', 'onnx'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_normal_use_prints_nothing(lstm):
    """Loading, running, and a refused call leave stdout and stderr empty."""
    script = (
        "import sys, edgernn\n"
        "stream = edgernn.load(sys.argv[1]).stream()\n"
        "stream.step([1]); stream.feed([[1], [2]])\n"
        "try: stream.step([9])\n"
        "except edgernn.InputError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(lstm)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_model_is_shared_by_its_copies(model):
    """A deep copy is the model itself; pickling is refused with the alternative."""
    assert copy.deepcopy({"it": model})["it"] is model
    with pytest.raises(TypeError) as caught:
        pickle.dumps(model)
    assert str(caught.value) == (
        "A model cannot be pickled: it holds sessions of ONNX Runtime. Load it where it is needed: "
        "edgernn.load(path)."
    )


def test_a_model_shows_its_facts(lstm, model):
    """Where it runs, and the facts of its artifact, or of the contract of a single graph."""
    title, provider, source, *facts = repr(model).splitlines()
    assert (title, provider, source) == (
        f"Model {lstm}",
        "provider  cpu",
        "source    demo",
    )
    assert "state     h_in: float32[1, batch, 4] → h_out" in facts
    graph = edgernn.load(lstm / "step.onnx")
    assert repr(graph).splitlines()[:2] == ["Model of demo", "provider  cpu"]
    assert model._repr_html_().startswith("<table style=")
