"""State in the memory of a device, and steps captured as CUDA graphs, on a CUDA made of the CPU."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace

import numpy as np
import pytest

import edgernn
from edgernn.artifact import Artifact
from edgernn.errors import ProviderError
from edgernn.precision_report import PrecisionReport
from edgernn.runtime import device_transfer
from edgernn.runtime.providers import PROVIDERS

IDS = np.random.default_rng(3).integers(5, size=(12, 2))
GRAPHS = "cuda:device_id=1,enable_cuda_graph=1"


def steps(stream):
    return [stream.step(ids) for ids in IDS]


def warned(stream):
    with pytest.warns(RuntimeWarning) as caught:
        outputs = steps(stream)
    return outputs, str(caught[0].message)


@pytest.fixture
def expected(model):
    """What the CPU gives, and the state after it."""
    stream = model.stream(2)
    return steps(stream), stream.snapshot()


@pytest.mark.parametrize("provider", ["cuda:device_id=1", GRAPHS])
def test_a_stream_on_the_device(fake_cuda, lstm, expected, provider):
    """Outputs, states and forks are those of the CPU, plain and captured."""
    stream = edgernn.load(lstm, provider=provider).stream(2)
    np.testing.assert_equal((steps(stream), stream.snapshot()), expected)
    np.testing.assert_equal(stream.fork().snapshot(), expected[1])
    stream.reset()
    np.testing.assert_allclose(stream.feed(IDS), np.array(expected[0]), atol=1e-6)


@pytest.mark.parametrize("name", ["tokens", "h_in"])
def test_an_input_that_is_read_on_the_host(fake_cuda, lstm, expected, name):
    """It is bound again before each run, because binding copies it; it is not captured."""
    fake_cuda.reads_on_host = {name}
    outputs = steps(edgernn.load(lstm, provider="cuda:device_id=1").stream(2))
    np.testing.assert_equal(outputs, expected[0])
    outputs, message = warned(edgernn.load(lstm, provider=GRAPHS).stream(2))
    np.testing.assert_equal(outputs, expected[0])
    assert message == (
        f"`enable_cuda_graph` has no effect on `demo`: `{name}` is read on the host, which a "
        "replay does not do again."
    )


@pytest.mark.parametrize("on_host", [set(), {"tokens"}, {"h_in"}])
def test_a_pool_on_the_device(fake_cuda, lstm, expected, on_host):
    """Streams of a pool give what they give on the CPU, also where inputs are read on the host."""
    fake_cuda.reads_on_host = on_host
    pool = edgernn.load(lstm, provider="cuda:device_id=1").pool(capacity=4)
    first, second = pool.open(), pool.open()
    outputs = [pool.step({first: a, second: b}) for a, b in IDS]
    found = [np.stack([one[first], one[second]]) for one in outputs]
    np.testing.assert_allclose(found, expected[0], atol=1e-6)


@pytest.mark.parametrize("provider", ["cuda:device_id=1", GRAPHS])
def test_no_state_leaves_the_device(fake_cuda, lstm, provider):
    """A step copies its input to the device and its output to the host, and nothing else."""
    stream = edgernn.load(lstm, provider=provider).stream(2)
    stream.step(IDS[0])
    fake_cuda.calls.clear()
    for ids in IDS[1:]:
        stream.step(ids)
    copies = {name: fake_cuda.calls[name] for name in ("to device", "to host", "between")}
    assert copies == {"to device": 11, "to host": 11, "between": 0}
    stream.fork()
    assert fake_cuda.calls["between"] == 2


def test_each_order_is_captured_once(fake_cuda, lstm):
    """A stream captures both orders of its buffers, replays them, and releases them at its end."""
    model = edgernn.load(lstm, provider=GRAPHS)
    stream = model.stream(2)
    assert fake_cuda.calls["captured"] == 0
    steps(stream)
    assert fake_cuda.calls["captured"] == 2
    steps(other := model.stream(2))
    assert fake_cuda.calls["captured"] == 4
    fake_cuda.calls.clear()
    np.testing.assert_equal(steps(stream), steps(other))
    assert fake_cuda.calls["replayed"] == 24
    del stream
    gc.collect()
    assert fake_cuda.calls["released"] == 2


def test_only_the_captured_session_captures(fake_cuda, lstm):
    """`enable_cuda_graph` reaches the session of the captured steps and no other."""
    model = edgernn.load(lstm, provider=GRAPHS)
    steps(model.stream(2))
    model(IDS)
    started = [one.get("enable_cuda_graph", "0") for one in fake_cuda.started]
    assert sorted(started) == ["0"] * (len(started) - 1) + ["1"]
    assert all(one["device_id"] == "1" and one["use_tf32"] == "0" for one in fake_cuda.started)


def test_captured_steps_that_differ_are_not_used(fake_cuda, lstm, expected):
    """Where a replay gives other numbers, the plain steps go on from the same state."""
    fake_cuda.off_by = 0.25
    outputs, message = warned(edgernn.load(lstm, provider=GRAPHS).stream(2))
    np.testing.assert_equal(outputs, expected[0])
    assert message == (
        "`enable_cuda_graph` has no effect on `demo`: output output of step 0 differs by 2.5e-01 "
        "from a run without a capture."
    )
    assert fake_cuda.calls["replayed"] == 4


def test_a_graph_that_cannot_be_captured(fake_cuda, lstm, expected):
    """The reason is ONNX Runtime's message, and the plain steps are used."""
    fake_cuda.refuses_capture = "the model has control flow nodes"
    outputs, message = warned(edgernn.load(lstm, provider=GRAPHS).stream(2))
    np.testing.assert_equal(outputs, expected[0])
    assert message == (
        "`enable_cuda_graph` has no effect on `demo`: `cuda` does not run here: the model has "
        f"control flow nodes. Install it: {PROVIDERS['cuda'].install}."
    )


def test_a_recurrent_operator_is_not_captured(fake_cuda, lstm, monkeypatch):
    """A step graph with an operator of cuDNN runs plainly."""
    monkeypatch.setattr(
        "edgernn.runtime.cuda_graph.node_places", lambda session: [("LSTM", "CUDA")]
    )
    _, message = warned(edgernn.load(lstm, provider=GRAPHS).stream(2))
    assert message == (
        "`enable_cuda_graph` has no effect on `demo`: `LSTM` of cuDNN cannot be captured."
    )


def test_several_inputs_and_outputs(fake_cuda, leaky):
    """A model with two inputs, two outputs and a learned state is captured as well."""
    assert leaky.artifact is not None
    inputs = leaky.contract.data_inputs("step")
    random = np.random.default_rng(0)
    chunk = [
        {port.name: random.normal(size=(3, *port.shape[1:])).astype(port.dtype) for port in inputs}
        for _ in range(5)
    ]
    host = leaky.stream(3)
    device = edgernn.load(leaky.artifact.path, provider=GRAPHS).stream(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [device.step(**one) for one in chunk]
    np.testing.assert_equal(found, [host.step(**one) for one in chunk])
    assert fake_cuda.calls["captured"] == 2


def test_a_model_says_where_and_how_it_runs(fake_cuda, lstm):
    """Models and streams show the provider with its options."""
    model = edgernn.load(lstm, provider=GRAPHS)
    for shown in (model, model.stream()):
        assert "cuda:use_tf32=0,device_id=1,enable_cuda_graph=1\n" in repr(shown)


def test_copies_go_through_the_host_where_onnxruntime_has_none_on_the_device(
    fake_cuda, lstm, expected
):
    """A fork has the same state where OrtValues are not copied to each other."""
    fake_cuda.copies = False
    stream = edgernn.load(lstm, provider="cuda:device_id=1").stream(2)
    steps(stream)
    np.testing.assert_equal(stream.fork().snapshot(), expected[1])
    assert fake_cuda.calls["between"] == 0


@pytest.mark.parametrize("precision", [None, PrecisionReport("int8")])
def test_a_precision_that_cuda_lacks_is_refused_by_load(fake_cuda, lstm, monkeypatch, precision):
    """An artifact in another precision than float32 is placed when it is loaded."""
    artifact = replace(Artifact.open(lstm), precision=precision)
    monkeypatch.setattr(Artifact, "open", lambda path: artifact)
    fake_cuda.lacks = {"Gemm"}
    if precision is None:
        edgernn.load(lstm, provider="cuda")
        return
    with pytest.raises(ProviderError) as caught:
        edgernn.load(lstm, provider="cuda")
    assert str(caught.value) == (
        "`cuda` does not run this graph's work: ONNX Runtime put `Gemm` on CPUExecutionProvider. "
        "Run it with provider `cpu`."
    )


def test_large_tensors_go_through_pinned_memory(fake_cuda, lstm, expected, monkeypatch):
    """Where ONNX Runtime has pinned memory for the device, copies use it."""
    monkeypatch.setattr(device_transfer, "_LEAST_PINNED_BYTES", 1)
    fake_cuda.pinned = True
    stream = edgernn.load(lstm, provider="cuda:device_id=1").stream(2)
    np.testing.assert_equal((steps(stream), stream.snapshot()), expected)
    assert fake_cuda.calls["pinned"] == 6
