"""Artifacts and recordings that break the contract in ways that once misled the C core's memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import Once
from tests.hosts.host_artifacts import write_artifact
from tests.hosts.host_drivers import HOSTS, Driver, HostError

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

Shape = Sequence[int | str]
Shapes = Mapping[str, Shape]


@pytest.fixture(scope="module")
def driver(once: Once) -> Iterator[Driver]:
    """The driver of the C core."""
    with HOSTS["c"].start(once) as driver:
        yield driver


def write_graph(
    file: Path, copies: Mapping[str, str], inputs: Shapes, outputs: Shapes, **metadata: str
) -> None:
    """Write a graph that copies inputs to outputs, with the state `h`; `lengths` are int64."""

    def value(name: str, shape: Shape) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, INT64 if name == "lengths" else FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("Identity", [x], [y]) for y, x in copies.items()],
        "graph",
        [value(*port) for port in inputs.items()],
        [value(*port) for port in outputs.items()],
        [numpy_helper.from_array(np.zeros((1, 0), np.float32), "nothing")],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    given = {"graph": file.stem, "contract": "1", "carry": "yes", "states": "h_in:h_out"}
    given |= {"family": "0" * 16, "source": "a test", "parity": "none", **metadata}
    helper.set_model_props(
        model, {f"edgernn.{key.replace('__', '.')}": text for key, text in given.items()}
    )
    onnx.save(model, str(file))


STATE = {"h_out": "h_in"}
ROW: Shape = ["batch", 1]


def same_axis_twice(folder: Path) -> None:
    """A state with two axes of sequences, and the initial value of neither."""
    shape: Shape = ["batch", "batch", 4]
    write_graph(
        folder / "step.onnx",
        {"y": "x", **STATE},
        {"x": ROW, "h_in": shape},
        {"y": ROW, "h_out": shape},
        initial__h="1 2 3 4",
    )


def lengths_of_steps_alone(folder: Path) -> None:
    """An input of lengths that only the step graph has."""
    whole: Shape = ["batch", "sequence", 1]
    write_graph(
        folder / "sequence.onnx",
        {"y": "x", **STATE},
        {"x": whole, "h_in": ROW},
        {"y": whole, "h_out": ROW},
    )
    write_graph(
        folder / "step.onnx",
        {"y": "x", **STATE},
        {"x": ROW, "lengths": ["batch"], "h_in": ROW},
        {"y": ROW, "h_out": ROW},
        lengths="lengths",
    )


@pytest.mark.parametrize("write", [same_axis_twice, lengths_of_steps_alone])
def test_broken_contracts_are_refused(
    driver: Driver, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """What no call can run is an error when it is opened."""
    write(tmp_path)
    with pytest.raises(HostError) as caught:
        driver.open(tmp_path)
    assert caught.value.kind == "contract"


def test_an_output_without_steps_in_a_hop(driver: Driver, tmp_path: Path) -> None:
    """An output of no steps is one that is always defined, beside one with a delay."""
    write_graph(
        tmp_path / "step.onnx",
        {"y": "nothing", "z": "x", **STATE},
        {"x": ROW, "h_in": ROW},
        {"y": [1, 0], "z": ROW, "h_out": ROW},
        axes__y=",hop",
        delay__z="1",
    )
    driver.open(tmp_path)
    driver.stream()
    outputs = driver.call("step", x=np.ones((1, 1), np.float32))
    assert outputs["z"] is None
    assert outputs["y"] is not None
    assert outputs["y"].shape == (1, 0)
    driver.ask("close")


def test_an_input_of_half_the_steps(driver: Driver, tmp_path: Path) -> None:
    """A chunk that is run in two calls has as many steps of each input."""
    whole: Shape = ["batch", "sequence", 1]
    half: Shape = ["batch", "sequence//2", 256]
    write_graph(
        tmp_path / "sequence.onnx",
        {"y": "x", "w": "z", **STATE},
        {"x": whole, "z": half, "h_in": ROW},
        {"y": whole, "w": ["batch", "w_dim1", 256], "h_out": ROW},
        most__sequence="4",
    )
    driver.open(tmp_path)
    driver.stream()
    x, z = np.ones((1, 8, 1), np.float32), np.ones((1, 4, 256), np.float32)
    with pytest.raises(HostError) as caught:
        driver.call("feed", x=x, z=z)
    assert caught.value.kind == "input"
    expected = "`z` came with 4 steps, another input with 8. Give as many of each."
    assert caught.value.message == expected
    driver.ask("close")


def test_recorded_inputs_of_different_lengths(driver: Driver, tmp_path: Path) -> None:
    """A golden run has as many steps of each input."""
    steps: Shape = ["batch", "sequence", 1]
    write_graph(
        tmp_path / "sequence.onnx",
        {"y": "x", "w": "z", **STATE},
        {"x": steps, "z": steps, "h_in": ROW},
        {"y": steps, "w": steps, "h_out": ROW},
    )
    (tmp_path / "golden").mkdir()
    shapes = {"x": (1, 2, 1), "z": (1, 900, 1), "y": (1, 2, 1), "w": (1, 900, 1)}
    for name, shape in {**shapes, "h_in": (1, 1), "h_out": (1, 1)}.items():
        np.save(tmp_path / "golden" / f"{name}.npy", np.ones(shape, np.float32))
    driver.open(tmp_path)
    with pytest.raises(HostError) as caught:
        driver.check(tmp_path / "golden")
    assert caught.value.kind == "contract"
    driver.ask("close")


def test_snapshots_of_endless_sequences(driver: Driver, once: Once) -> None:
    """A snapshot whose number of hops leaves no room for more is refused."""
    folder = once("host-artifact-characters", lambda folder: write_artifact("characters", folder))
    driver.open(folder / "model.edgernn")
    driver.stream()
    saved = bytearray.fromhex(driver.ask("snapshot"))
    for place in (32, 40):  # the hops that were run, and those of the sequence
        saved[place : place + 8] = struct.pack("=q", 2**63 - 1)
    hashed = 0
    for byte in saved[:-8]:
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    with pytest.raises(HostError) as caught:
        driver.ask("restore", (saved[:-8] + struct.pack("=Q", hashed)).hex())
    assert caught.value.kind == "state"
    driver.ask("close")
