"""Artifacts on an NVIDIA GPU; skipped with the reason where CUDA does not work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgernn
from edgernn.runtime import providers
from edgernn.runtime.golden_replay import replay
from tests.nets.tagger import Tagger

REASON = next(found.reason for found in providers.try_providers() if found.name == "cuda")

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(bool(REASON), reason=f"CUDA does not run here: {REASON}"),
]


def tagger(kind: str, layers: int = 1, bidirectional: bool = False) -> Tagger:
    """Return a tagger that is large enough for TF32 to show."""
    return Tagger(kind, layers, bidirectional, symbols=50, width=32, hidden=64, scores=50)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_golden_run(tmp_path: Path, kind: str, layers: int, bidirectional: bool) -> None:
    """The golden run passes whole, by steps and by chunks, without TF32."""
    model = tagger(kind, layers, bidirectional)
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn")
    checks = replay(edgernn.load(artifact.path, provider="cuda"))
    assert max(check.difference for check in checks) < 1e-4


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_long_stream(tmp_path: Path, kind: str) -> None:
    """A thousand steps with the state kept on the device are those of eager torch."""
    model = tagger(kind).eval()
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn")
    ids = np.random.default_rng(0).integers(50, size=(4, 1000))
    stream = edgernn.load(artifact.path, provider="cuda").stream(4)
    got = np.stack([stream.step(ids[:, t]) for t in range(1000)], 1)
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_snapshot_moves_between_providers(tmp_path: Path) -> None:
    """A state saved on the device goes on with the CPU."""
    artifact = edgernn.export_model(tagger("LSTM", 2), tmp_path / "m.edgernn")
    ids = np.random.default_rng(1).integers(50, size=(2, 20))
    device = edgernn.load(artifact.path, provider="cuda").stream(2)
    device.feed(ids[:, :10])
    host = edgernn.load(artifact.path).stream(2)
    host.restore(device.snapshot())
    np.testing.assert_allclose(host.feed(ids[:, 10:]), device.feed(ids[:, 10:]), atol=1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_float16(tmp_path: Path, kind: str) -> None:
    """A float16 artifact runs on the device, whole and by steps, within its tolerance."""
    artifact = edgernn.export_model(tagger(kind), tmp_path / "m.edgernn", precision="float16")
    checks = replay(edgernn.load(artifact.path, provider="cuda"))
    assert max(check.difference for check in checks) < artifact.tolerance


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_captured_steps(tmp_path: Path, kind: str) -> None:
    """Steps are captured as CUDA graphs, without a warning, and give the numbers of plain steps."""
    artifact = edgernn.export_model(tagger(kind, 2), tmp_path / "m.edgernn")
    ids = np.random.default_rng(2).integers(50, size=(3, 40))
    outputs = []
    for name in ("cuda", "cuda:enable_cuda_graph=1"):
        stream = edgernn.load(artifact.path, provider=name).stream(3)
        fork = stream.fork()
        outputs.append([one.step(ids[:, t]) for t in range(40) for one in (stream, fork)])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)


def test_a_fork_and_a_reset_on_the_device(tmp_path: Path) -> None:
    """A fork goes on by itself from the same state, and a reset starts anew."""
    artifact = edgernn.export_model(tagger("LSTM"), tmp_path / "m.edgernn")
    ids = np.random.default_rng(3).integers(50, size=(2, 10))
    stream = edgernn.load(artifact.path, provider="cuda").stream(2)
    first = [stream.step(ids[:, t]) for t in range(10)]
    fork = stream.fork()
    np.testing.assert_equal(fork.snapshot(), stream.snapshot())
    stream.reset()
    np.testing.assert_equal([stream.step(ids[:, t]) for t in range(10)], first)
    np.testing.assert_equal(fork.step(ids[:, 0]), stream.step(ids[:, 0]))


def test_a_pool(tmp_path: Path) -> None:
    """Streams of a pool give the numbers of streams that run alone."""
    artifact = edgernn.export_model(tagger("GRU"), tmp_path / "m.edgernn")
    model: Any = edgernn.load(artifact.path, provider="cuda")
    ids = np.random.default_rng(4).integers(50, size=(20, 5))
    pool = model.pool(capacity=5)
    streams = [pool.open() for _ in range(5)]
    alone = model.stream(5)
    for step in ids:
        found = pool.step(dict(zip(streams, step, strict=True)))
        expected = alone.step(step)
        np.testing.assert_allclose([found[one] for one in streams], expected, atol=1e-5)


def test_int8_is_refused(tmp_path: Path) -> None:
    """CUDA has no products of uint8 by int8, so an int8 artifact does not run there."""
    artifact = edgernn.export_model(
        tagger("LSTM"), tmp_path / "m.edgernn", precision="int8", verify=False
    )
    with pytest.raises(edgernn.ProviderError, match="It lacks the products of int8 weights"):
        edgernn.load(artifact.path, provider="cuda").stream().step([1])


def test_options_reach_onnxruntime(tmp_path: Path) -> None:
    """TF32 changes numbers where it is asked for; a device that is not there is refused."""
    artifact = edgernn.export_model(tagger("LSTM"), tmp_path / "m.edgernn")
    ids = np.random.default_rng(5).integers(50, size=(64, 20))
    exact = edgernn.load(artifact.path, provider="cuda")(ids)
    rounded = edgernn.load(artifact.path, provider="cuda:use_tf32=1")(ids)
    assert 0 < np.abs(exact - rounded).max() < 1e-1
    with pytest.raises(edgernn.ProviderError):
        edgernn.load(artifact.path, provider="cuda:device_id=99")


def test_nothing_falls_back(tmp_path: Path) -> None:
    """The recurrent nodes run on the device, or loading fails: a loaded model says `cuda`."""
    artifact = edgernn.export_model(tagger("GRU"), tmp_path / "m.edgernn")
    assert edgernn.load(artifact.path, provider="cuda").provider == "cuda"
