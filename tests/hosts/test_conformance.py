"""Every host runs the same artifacts with the same results, and refuses the same mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import edgernn
from tests.conftest import Once
from tests.hosts.host_artifacts import ARTIFACTS, write_artifact
from tests.hosts.host_drivers import HOSTS, Driver, Host, HostError, as_tensor

Array = NDArray[Any]

CHUNKS = (1, 3, 7, 2)
"""The hops of the chunks, one after another."""


@pytest.fixture(scope="session")
def artifact_of(once: Once) -> Callable[[str], Path]:
    """From the name of an artifact to its folder."""

    def find(name: str) -> Path:
        folder = once(f"host-artifact-{name}", lambda folder: write_artifact(name, folder))
        return folder / "model.edgernn"

    return find


@pytest.fixture(scope="module", params=list(HOSTS))
def host(request: pytest.FixtureRequest) -> Host:
    return HOSTS[request.param]


@pytest.fixture(scope="module")
def driver(host: Host, once: Once) -> Iterator[Driver]:
    """The driver of a host, built once and started."""
    with host.start(once) as driver:
        yield driver


@pytest.fixture
def chars(driver: Driver, artifact_of: Callable[[str], Path]) -> Iterator[Driver]:
    """A driver with a stream of the model of characters."""
    driver.open(artifact_of("characters"))
    driver.stream()
    yield driver
    driver.ask("close")


def inputs_of(model: edgernn.Model, batch: int, steps: int) -> dict[str, Array]:
    """Return data for the inputs of a sequence graph."""
    rng = np.random.default_rng(steps)
    sizes = {"batch": batch, "sequence": steps}
    arrays = {}
    for port in model.contract.data_inputs("sequence"):
        shape = [sizes[size] if isinstance(size, str) else size for size in port.shape]
        drawn = rng.integers(0, port.limit, shape) if port.limit else rng.normal(size=shape)
        arrays[port.name] = drawn.astype(port.dtype)
    return arrays


def as_named(model: edgernn.Model, outputs: Any) -> dict[str, Array | None]:
    """Return outputs by name, as a driver does."""
    names = [port.name for port in model.contract.data_outputs("step")]
    return outputs if isinstance(outputs, dict) else {names[0]: outputs}


def assert_same(host: Host, found: Any, expected: Any) -> None:
    """Compare by name: the same bits, or close where a host is not on the same library."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        if array is None:
            assert found[name] is None, name
            continue
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        if host.closeness:
            np.testing.assert_allclose(found[name], array, rtol=0, atol=host.closeness)
        else:
            assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ARTIFACTS)
def test_numbers_are_those_of_python(
    driver: Driver, host: Host, artifact_of: Callable[[str], Path], name: str, batch: int
) -> None:
    """Whole, by chunks and by steps; outputs, final states and tails."""
    artifact = artifact_of(name)
    model = edgernn.load(artifact, forms=False)
    hop = model.contract.hop
    data = inputs_of(model, batch, hop * sum(CHUNKS))
    driver.open(artifact)
    driver.stream(batch)
    assert_same(host, driver.call("run", **data), as_named(model, model(**data)))

    stream = model.stream(batch)
    for way, ends in (("feed", np.cumsum(CHUNKS)), ("step", np.arange(1, sum(CHUNKS) + 1))):
        stream.reset()
        driver.ask("reset")
        start = 0
        for end in map(int, hop * ends):
            part = {port: array[:, start:end] for port, array in data.items()}
            if way == "step" and hop == 1:
                part = {port: array[:, 0] for port, array in part.items()}
            expected = (stream.step if way == "step" else stream.feed)(**part)
            assert_same(host, driver.call(way, **part), as_named(model, expected))
            start = end
        for port, state in stream.snapshot().items():
            if not port.startswith("stream."):
                assert_same(host, {port: driver.state(f"{port}_in")}, {port: state})
        assert driver.counts() == (stream.steps, stream.rest)
        assert_same(host, driver.call("finish"), as_named(model, stream.finish()))
    driver.ask("close")


@pytest.mark.parametrize("name", ARTIFACTS)
def test_golden_run(driver: Driver, artifact_of: Callable[[str], Path], name: str) -> None:
    """A host checks itself in each way, and finds a run that does not feed the state back."""
    artifact = artifact_of(name)
    driver.open(artifact)
    found = driver.check(artifact / "golden")
    control = found.pop("without_state")
    assert max(found.values()) < 1e-6
    assert control > 1e-3
    driver.ask("close")


def test_golden_run_of_another_model(
    driver: Driver, artifact_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """One number changed in the recording is found in every way."""
    artifact = shutil.copytree(artifact_of("two_layer_gru"), tmp_path / "model.edgernn")
    output = np.load(artifact / "golden" / "output.npy")
    output.flat[-1] += 0.5
    np.save(artifact / "golden" / "output.npy", output)
    driver.open(artifact)
    assert min(driver.check(artifact / "golden").values()) > 0.49
    driver.ask("close")


@pytest.mark.parametrize("name", ARTIFACTS)
def test_rests_and_snapshots(
    driver: Driver, host: Host, artifact_of: Callable[[str], Path], name: str
) -> None:
    """Chunks of any length; a stream goes on from a snapshot, also of another stream."""
    artifact = artifact_of(name)
    model = edgernn.load(artifact, forms=False)
    data = inputs_of(model, 2, 29)
    driver.open(artifact)
    driver.stream(2)
    stream = model.stream(2)
    before = {port: array[:, :14] for port, array in data.items()}
    after = {port: array[:, 14:] for port, array in data.items()}
    assert_same(host, driver.call("feed", **before), as_named(model, stream.feed(**before)))
    assert driver.counts() == (stream.steps, stream.rest)
    saved = driver.ask("snapshot")
    expected = as_named(model, stream.feed(**after))
    assert_same(host, driver.call("feed", **after), expected)
    driver.ask("restore", saved)
    assert_same(host, driver.call("feed", **after), expected)
    driver.stream(2)
    driver.ask("restore", saved)
    assert_same(host, driver.call("feed", **after), expected)
    driver.ask("close")


def test_opened_from_memory(driver: Driver, host: Host, artifact_of: Callable[[str], Path]) -> None:
    """A model from bytes has the numbers of the one from files."""
    model = edgernn.load(artifact_of("learned_start"), forms=False)
    data = inputs_of(model, 1, 5)
    driver.ask("open_memory", str(artifact_of("learned_start")))
    driver.stream()
    assert_same(host, driver.call("feed", **data), as_named(model, model(**data)))
    driver.ask("close")


def test_facts(driver: Driver, artifact_of: Callable[[str], Path]) -> None:
    """What a host knows of a model."""
    driver.open(artifact_of("characters"))
    assert driver.facts() == {
        "hop": "1",
        "carries": "true",
        "vocabulary": "13",
        "provider": "cpu",
    }
    assert driver.ask("metadata", "vocabulary.unknown") == "11"
    assert driver.ask("metadata", "no_such_key") == ""
    driver.ask("close")


@pytest.mark.parametrize("text", ["", "abc", "aé b", "xaby", "ab" * 50, "~", "a\U0001f600b"])
def test_vocabulary(chars: Driver, artifact_of: Callable[[str], Path], text: str) -> None:
    """Texts have the ids that Python gives them, and ids their text."""
    vocabulary = edgernn.load(artifact_of("characters")).contract.vocabulary
    assert vocabulary is not None
    ids = vocabulary.encode(text)
    assert chars.encode(text) == ids
    assert chars.decode([*ids, 12]) == vocabulary.decode([*ids, 12])


TOKEN = np.array([1])

REFUSED = {
    "a name": ("step", {"words": TOKEN}, "input"),
    "a dtype": ("step", {"tokens": np.array([1.0], np.float32)}, "input"),
    "a shape": ("step", {"tokens": np.array([[1]])}, "input"),
    "a batch": ("step", {"tokens": np.array([1, 2])}, "input"),
    "an id above": ("step", {"tokens": np.array([13])}, "input"),
    "an id below": ("step", {"tokens": np.array([-1])}, "input"),
    "no input": ("step", {}, "input"),
    "no steps": ("feed", {"tokens": np.zeros((1, 0), np.int64)}, "input"),
    "a step as a chunk": ("feed", {"tokens": TOKEN}, "input"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_calls_change_nothing(chars: Driver, case: str) -> None:
    """A refused call leaves the stream as it was."""
    way, arrays, kind = REFUSED[case]
    chars.call("step", tokens=TOKEN)
    saved = chars.ask("snapshot")
    with pytest.raises(HostError) as caught:
        chars.call(way, **arrays)
    assert caught.value.kind == kind
    assert chars.ask("snapshot") == saved
    assert chars.counts() == (1, 0)


def test_one_input_needs_no_name(chars: Driver) -> None:
    """An input without a name is the only data input."""
    named = chars.ask("step", as_tensor("tokens", TOKEN))
    chars.ask("reset")
    assert chars.ask("step", as_tensor("", TOKEN)) == named


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("h", np.zeros((1, 1, 8), np.float32)),
        ("h_in", np.zeros((1, 1, 7), np.float32)),
        ("h_in", np.zeros((1, 1, 8), np.float64)),
        ("h_in", np.full((1, 1, 8), np.nan, np.float32)),
        ("h_in", np.full((1, 1, 8), np.inf, np.float32)),
    ],
)
def test_wrong_states_are_refused(chars: Driver, name: str, value: Array) -> None:
    """A state has the name, shape and dtype of its port, and finite values."""
    saved = chars.ask("snapshot")
    with pytest.raises(HostError) as caught:
        chars.set_state(name, value)
    assert caught.value.kind == "state"
    assert chars.ask("snapshot") == saved


def test_foreign_snapshots_are_refused(driver: Driver, artifact_of: Callable[[str], Path]) -> None:
    """A snapshot fits its own artifact and batch, undamaged."""
    driver.open(artifact_of("two_layer_gru"))
    driver.stream(2)
    saved = driver.ask("snapshot")
    for wrong in (saved[:-2], saved + "00", "", "00" * (len(saved) // 2)):
        with pytest.raises(HostError) as caught:
            driver.ask("restore", wrong)
        assert caught.value.kind == "state"
    driver.stream(1)
    with pytest.raises(HostError) as caught:
        driver.ask("restore", saved)
    assert caught.value.kind == "state"
    driver.ask("close")
    driver.open(artifact_of("learned_start"))
    driver.stream(2)
    with pytest.raises(HostError) as caught:
        driver.ask("restore", saved)
    assert caught.value.kind == "state"
    driver.ask("close")


def change_metadata(file: Path, key: str, value: str) -> None:
    """Give a graph another entry in its metadata."""
    model = onnx.load(str(file))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, entries | {key: value})
    onnx.save(model, str(file))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("edgernn.contract", "2"),
        ("edgernn.family", "0" * 16),
        ("edgernn.states", "h_in:h_out,c_in"),
        ("edgernn.states", "h_in:h_out,c_in:c"),
    ],
)
def test_tampered_artifacts_are_refused(
    driver: Driver, artifact_of: Callable[[str], Path], tmp_path: Path, key: str, value: str
) -> None:
    """A contract that a host does not know, or that does not fit, is an error when it is opened."""
    artifact = shutil.copytree(artifact_of("characters"), tmp_path / "model.edgernn")
    change_metadata(artifact / "step.onnx", key, value)
    with pytest.raises(HostError) as caught:
        driver.open(artifact)
    assert caught.value.kind == "contract"


def test_what_is_no_artifact_is_refused(driver: Driver, tmp_path: Path) -> None:
    """A path without an artifact, and files that are no graphs."""
    with pytest.raises(HostError) as caught:
        driver.open(tmp_path / "missing.edgernn")
    assert caught.value.kind == "contract"
    (tmp_path / "bad.edgernn").mkdir()
    for name in ("step.onnx", "sequence.onnx", "contract.json"):
        (tmp_path / "bad.edgernn" / name).write_text("no graph")
    with pytest.raises(HostError) as caught:
        driver.open(tmp_path / "bad.edgernn")
    assert caught.value.kind == "contract"


def test_an_unknown_provider_is_refused(driver: Driver, artifact_of: Callable[[str], Path]) -> None:
    """There is no silent CPU."""
    for provider in ("nonsense", "cuda"):
        with pytest.raises(HostError) as caught:
            driver.open(artifact_of("characters"), provider)
        assert caught.value.kind == "provider"


def test_a_stream_needs_sequences(driver: Driver, artifact_of: Callable[[str], Path]) -> None:
    """A batch of no sequences is an error."""
    driver.open(artifact_of("characters"))
    with pytest.raises(HostError) as caught:
        driver.stream(0)
    assert caught.value.kind == "input"
    driver.ask("close")
