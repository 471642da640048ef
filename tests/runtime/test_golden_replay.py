"""The recorded run, replayed in every form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgernn.errors import ContractError, ParityError
from edgernn.report import Check, ParityReport
from edgernn.runtime import load
from edgernn.runtime.golden_replay import golden_report, median_step_time, replay, require_passed
from tests.nets import small_artifacts


@pytest.fixture
def folder(tmp_path):
    return small_artifacts.features(tmp_path / "features.edgernn")


@pytest.mark.parametrize(
    ("graphs", "carry", "forms"),
    [
        (("sequence", "step"), True, ["whole sequence", "steps step", "chunks sequence"]),
        (("sequence",), True, ["whole sequence", "steps sequence", "chunks sequence"]),
        (("sequence",), False, ["whole sequence"]),
        (("step",), True, ["steps step"]),
    ],
)
def test_forms(tmp_path, graphs, carry, forms):
    """A model is replayed in every way that its graphs and its state allow."""
    checks = replay(load(small_artifacts.features(tmp_path / "a.edgernn", carry, graphs)))
    assert [f"{check.name} {check.graph}" for check in checks] == forms
    assert {(check.batch, check.sequence, check.initial) for check in checks} == {(2, 7, "learned")}
    assert max(check.difference for check in checks) < 1e-6


@pytest.mark.parametrize(("scale", "kind"), [(0.0, "zero"), (1.0, "learned"), (-2.0, "random")])
def test_initial_state(folder, scale, kind):
    """The report names the kind of initial state, and the run starts from that state."""
    file = folder / "golden/h_in.npy"
    state = np.load(file) * np.float32(scale)
    output, final = small_artifacts.expected(np.load(folder / "golden/x.npy"), state)
    for name, array in (("h_in", state), ("output", output), ("h_out", final)):
        np.save(folder / f"golden/{name}.npy", array)
    assert {(check.initial, check.difference < 1e-6) for check in replay(load(folder))} == {
        (kind, True)
    }


@pytest.mark.parametrize(
    ("port", "array", "reason"),
    [
        ("output", np.zeros(3, np.float32), "float32[3], which is not `output: float32[batch, "),
        ("h_out", np.zeros((1, 3, 3), np.float32), "float32[1, 3, 3], which is not `h_out: "),
        ("output", np.zeros((2, 6, 3), np.float32), "float32[2, 6, 3], which is not `output: "),
        ("x", np.zeros((2, 7, 2)), "float64[2, 7, 2], which is not `x: float32[batch, sequence, "),
        ("x", np.zeros((2, 0, 2), np.float32), "float32[2, 0, 2], which is not `x: float32["),
    ],
    ids=["axes", "batch", "steps", "dtype", "none"],
)
def test_wrong_shape(folder, port, array, reason):
    """A recorded array that does not fit its port, or the sizes of the inputs, is refused."""
    np.save(folder / f"golden/{port}.npy", array)
    with pytest.raises(ContractError) as caught:
        replay(load(folder))
    file = folder / f"golden/{port}.npy"
    assert str(caught.value).startswith(f"`{file}` of the golden run is {reason}")


def test_pickles_and_pipes_are_no_arrays(folder):
    """A recorded array is plain numbers in a regular file."""
    file = folder / "golden/x.npy"
    np.save(file, np.array([{}]), allow_pickle=True)
    with pytest.raises(ContractError) as caught:
        replay(load(folder))
    assert str(caught.value) == (
        f"`{file}` of the golden run cannot be read: it holds object, not numbers. Export the "
        "model again."
    )
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(ContractError) as caught:
        replay(load(folder))
    assert str(caught.value) == (
        f"`{file}` of the golden run cannot be read: it is a device, not a file."
    )


def test_tolerance(folder):
    """The tolerance is that of the parity report, or the artifact's own where it has none."""
    model = load(folder)
    assert (golden_report(model).tolerance, golden_report(model).passed) == (1e-5, True)
    assert model.artifact is not None
    parity = dataclasses.replace(small_artifacts.PARITY, tolerance=0.5)
    model.artifact = dataclasses.replace(model.artifact, parity=parity)
    assert golden_report(model).tolerance == 0.5
    model.artifact = dataclasses.replace(model.artifact, parity=None)
    assert golden_report(model).tolerance == 1e-5
    model.artifact = dataclasses.replace(model.artifact, tolerance=0.25)
    assert golden_report(model).tolerance == 0.25


def test_nan_does_not_pass():
    """A NaN difference exceeds every tolerance."""
    check = Check("whole", "sequence", 1, 5, "zero", float("nan"))
    with pytest.raises(ParityError, match="`whole` through the sequence graph differs"):
        require_passed(ParityReport("it", 1.0, (check,)))


def test_lone_graph(folder):
    """A single graph has no golden run."""
    with pytest.raises(ContractError) as caught:
        replay(load(folder / "step.onnx"))
    assert str(caught.value) == (
        "`RNN(2, 3)` was loaded from a single graph, which carries no golden run. "
        "Load the whole artifact."
    )


def test_step_time(folder, tmp_path):
    """A step has a time; where the state is not carried, there is none."""
    seconds = median_step_time(load(folder))
    assert seconds is not None
    assert seconds > 0
    whole = small_artifacts.features(tmp_path / "whole.edgernn", carry=False, graphs=("sequence",))
    assert median_step_time(load(whole)) is None
