"""Artifacts that the tests of the runtime share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgernn
from edgernn.runtime import Model, cuda_graph, device_transfer, io_binding, providers
from edgernn.runtime.pool import batch_step
from tests.nets import embedded_lstm, framed
from tests.runtime.fake_cuda import FakeCuda
from tests.runtime.framed_streams import GRAPHS


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the artifacts of the session; tests that change one write their own."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
def lstm(folder) -> Path:
    """An embedded LSTM as an artifact with both graphs."""
    return embedded_lstm.write_lstm(folder / "lstm.edgernn", embedded_lstm.contract())


@pytest.fixture(scope="session")
def model(lstm) -> Model:
    """The embedded LSTM, loaded."""
    return edgernn.load(lstm)


@pytest.fixture(scope="session", params=["both", "sequence", "step"])
def any_model(request, tmp_path_factory) -> Model:
    """The embedded LSTM with both graphs, and with either alone."""
    kinds = ("sequence", "step") if request.param == "both" else (request.param,)
    path = tmp_path_factory.mktemp(request.param) / "lstm.edgernn"
    return edgernn.load(embedded_lstm.write_lstm(path, embedded_lstm.contract(kinds=kinds)))


@pytest.fixture(scope="session")
def leaky(folder) -> Model:
    """A step graph with two inputs, two outputs and a learned initial state."""
    return edgernn.load(embedded_lstm.two_inputs(folder / "leaky.edgernn"))


@pytest.fixture(scope="session")
def load_framed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Model]:
    """Return what loads the model of a framing with some of its graphs."""
    models: dict[Any, Model] = {}

    def load(framing: framed.Framed, graphs: str = "both") -> Model:
        if (framing, graphs) not in models:
            path = tmp_path_factory.mktemp("framed") / "m.edgernn"
            steps = 3 * framing.hop if graphs == "constant" else None
            models[framing, graphs] = framed.write(path, framing, GRAPHS[graphs], steps)
        return models[framing, graphs]

    return load


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """ONNX Runtime with a CUDA that computes on the CPU."""
    fake = FakeCuda()
    for module in (providers, io_binding, device_transfer, cuda_graph, batch_step):
        monkeypatch.setattr(module, "onnxruntime", lambda: fake)
    return fake
