"""Artifacts on an NVIDIA GPU; skipped with the reason where CUDA does not work."""

from __future__ import annotations

from pathlib import Path

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


def test_nothing_falls_back(tmp_path: Path) -> None:
    """The recurrent nodes run on the device, or loading fails: a loaded model says `cuda`."""
    artifact = edgernn.export_model(tagger("GRU"), tmp_path / "m.edgernn")
    assert edgernn.load(artifact.path, provider="cuda").provider == "cuda"
