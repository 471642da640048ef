"""Hosts with a garbage collector: what is closed, forgotten, shared by threads or misread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edgernn
from tests.conftest import Once
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import HOSTS, Driver, HostError, as_tensor, from_tensor

CLOSED = {
    "go": "The model or stream is closed. Open another one.",
    "csharp": "Cannot access a disposed object. Object name: 'ModelStream'.",
}
"""Host → its message for a call on a closed stream."""

MISREAD = {
    "go": "`y` has elements of float32, not int64.",
    "csharp": "`y` has elements of Float32, not Int64.",
}
"""Host → its message for elements that are read as another type."""


@pytest.fixture(scope="module")
def artifact(once: Once) -> Path:
    """A GRU of two layers: 3 inputs and 5 outputs."""
    name = "two_layer_gru"
    folder = once(f"host-artifact-{name}", lambda folder: write_artifact(name, folder))
    return folder / "model.edgernn"


@pytest.fixture(scope="module", params=list(CLOSED))
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def driver(host: str, artifact: Path, once: Once) -> Iterator[Driver]:
    """A driver with a stream."""
    with HOSTS[host].start(once) as driver:
        driver.open(artifact)
        driver.stream()
        yield driver


X = np.ones((1, 3), np.float32)


def test_a_closed_stream_is_an_error(driver: Driver, host: str) -> None:
    """Every call on it says so, and closing it again does nothing."""
    saved = driver.ask("snapshot")
    driver.ask("close")
    for command in (
        *("step", "feed", "finish", "run", "reset", "snapshot"),
        *(f"restore {saved}", "state h_in", "set_state " + as_tensor("h_in", X)),
    ):
        with pytest.raises(HostError) as caught:
            driver.ask(command)
        assert (caught.value.kind, caught.value.message) == ("input", CLOSED[host]), command
    for command in ("stream 1", "check x", "encode 61", "decode 1"):
        with pytest.raises(HostError) as caught:
            driver.ask(command)
        assert caught.value.kind == "input", command
    driver.ask("close")


def test_a_stream_goes_on_after_its_model_is_closed(driver: Driver, artifact: Path) -> None:
    """It keeps what it needs."""
    stream = edgernn.load(artifact, forms=False).stream()
    driver.ask("close_model")
    for _ in range(3):
        (output,) = driver.call("step", input=X).values()
        np.testing.assert_array_equal(output, stream.step(X))


def test_forgotten_streams_are_closed(driver: Driver) -> None:
    """300 streams of 1.6 MB each, which nobody closes, do not stay in memory."""
    driver.ask("abandon", "10", "20000")
    before = driver.resident_bytes()
    driver.ask("abandon", "300", "20000")
    assert driver.resident_bytes() - before < 150e6


def test_threads_share_a_model(driver: Driver, artifact: Path) -> None:
    """Each thread has its own stream, and garbage collection in between changes nothing."""
    threads, steps = 4, 500
    answers = driver.ask("threads", str(threads), str(steps), "3").split()
    model = edgernn.load(artifact, forms=False)
    for k, answer in enumerate(answers):
        stream = model.stream()
        for i in range(steps):
            expected = stream.step(np.full((1, 3), k + i % 7, np.float32))
        np.testing.assert_array_equal(from_tensor(answer)[1], expected)


def test_elements_of_another_type_are_refused(driver: Driver, host: str) -> None:
    """Elements are read as the type that they have."""
    with pytest.raises(HostError) as caught:
        driver.ask("misread")
    assert (caught.value.kind, caught.value.message) == ("input", MISREAD[host])


def test_a_step_allocates_nothing(driver: Driver) -> None:
    """The garbage collector has no work."""
    assert driver.ask("allocations", "3") == "0"
