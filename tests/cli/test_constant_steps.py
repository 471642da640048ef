"""The command line with a sequence graph that takes 4 steps only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.nets import small_artifacts

X = np.random.default_rng(5).normal(size=(2, 11, 2)).astype(np.float32)


@pytest.fixture
def four(folder: Path) -> Path:
    """A model whose sequence graph takes 4 steps."""
    return small_artifacts.features(folder / "four.edgernn", steps=4)


@pytest.fixture
def alone(folder: Path) -> Path:
    """The same without a step graph."""
    return small_artifacts.features(folder / "alone.edgernn", graphs=("sequence",), steps=4)


@pytest.mark.parametrize("chunk", [None, "1", "3", "6"])
@pytest.mark.parametrize("steps", [1, 4, 11])
def test_arrays_of_any_length(edgernn: Invoke, four: Path, steps: int, chunk: str | None) -> None:
    """Whole calls and the rest step by step, the state going on from chunk to chunk."""
    np.save("x.npy", X[:, :steps])
    options = [] if chunk is None else ["--chunk", chunk]
    files = ["--input", "x.npy", "--output", "y.npy", "--state-out", "state.npz"]
    assert edgernn("run", "four.edgernn", *files, *options).exit_code == 0
    output, h = small_artifacts.expected(X[:, :steps])
    np.testing.assert_allclose(np.load("y.npy"), output, atol=1e-6)
    np.testing.assert_allclose(np.load("state.npz")["h"], h, atol=1e-6)


def test_lines(edgernn: Invoke, four: Path) -> None:
    """Rows of a file are steps, as many as there are; lines that come are answered one by one."""
    lines = "".join(f"{a},{b}\n" for a, b in X[0, :6])
    Path("x.csv").write_text(lines)
    wanted, _ = small_artifacts.expected(X[:1, :6])
    for options, stdin in ((["--input", "x.csv"], None), (["--input", "-"], lines)):
        result = edgernn("run", "four.edgernn", *options, stdin=stdin)
        assert result.exit_code == 0
        rows = [[float(cell) for cell in line.split(",")] for line in result.stdout.splitlines()]
        np.testing.assert_allclose(rows, wanted[0], atol=1e-6)


def test_lines_without_a_step_graph(edgernn: Invoke, alone: Path) -> None:
    """Lines are answered when there are enough for a call; a rest is refused."""
    lines = [json.dumps(row.tolist()) + "\n" for row in X[0]]
    result = edgernn("run", "alone.edgernn", "--input", "-", stdin="".join(lines[:8]))
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    np.testing.assert_allclose(rows, small_artifacts.expected(X[:1, :8])[0][0], atol=1e-6)
    result = edgernn("run", "alone.edgernn", "--input", "-", stdin="".join(lines[:6]))
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: The chunk has 2 steps, but the sequence graph takes 4 at a time, and there is no "
        "step graph for the rest. Feed a multiple of 4 steps, or export the model without a "
        "constant `sequence`.\n"
    )


def test_whole_sequences_only(edgernn: Invoke, folder: Path) -> None:
    """Where the state is not carried, an input of another length is refused."""
    small_artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",), steps=4)
    np.save("x.npy", X[:, :5])
    result = edgernn("run", "both.edgernn", "--input", "x.npy")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: `x: float32[batch, 4, 2]` came with 5 steps; the sequence graph takes exactly 4. "
        "Give 4 steps, or export the model without a constant `sequence`.\n"
    )


def test_golden_run(edgernn: Invoke, four: Path, alone: Path, folder: Path) -> None:
    """It is replayed by steps where there is a step graph, and by calls of 4."""
    printed = edgernn("run", "four.edgernn").stdout.splitlines()
    assert printed[0].startswith("steps, chunks: max difference ")
    assert len(printed) == 2
    printed = edgernn("run", "alone.edgernn").stdout.splitlines()
    assert printed[0].startswith("chunks: max difference ")
    assert len(printed) == 1
    small_artifacts.features(folder / "both.edgernn", carry=False, graphs=("sequence",), steps=4)
    printed = edgernn("run", "both.edgernn").stdout.splitlines()
    assert printed[0].startswith("whole: max difference ")
    assert edgernn("verify", "four.edgernn").exit_code == 0


def test_inspect(edgernn: Invoke, four: Path) -> None:
    """The number stands in the shapes and in a line of its own."""
    lines = edgernn("inspect", "four.edgernn").stdout.splitlines()
    assert "sequence    exactly 4" in lines
    assert any("[batch, 4, 2]" in line for line in lines)
