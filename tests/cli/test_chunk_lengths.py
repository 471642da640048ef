"""`edgernn run` on a model whose sequences end at lengths."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Invoke
from tests.cli.runs import load, refused
from tests.nets import small_artifacts

X = np.arange(1, 22, dtype=np.float32).reshape(3, 7, 1)


@pytest.fixture
def ending(folder: Path) -> Path:
    return small_artifacts.ending(folder / "ending.edgernn")


def run(edgernn: Invoke, *options: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run `x.npz` and return the outputs and the state."""
    targets = ("--output", "y.npz", "--state-out", "s.npz", "--force")
    result = edgernn("run", "--input", "x.npz", *targets, *options)
    assert (result.stdout, result.exit_code) == ("", 0)
    return load("y.npz"), load("s.npz")


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("lengths", [None, [7, 3, 5], [1, 7, 1], [2, 2, 2]], ids=str)
def test_chunks_are_the_whole(edgernn: Invoke, lengths: list[int] | None) -> None:
    """Whatever the chunks, each sequence ends at its length, and its state is the one there."""
    if lengths is None:
        np.savez("x.npz", x=X)
    else:
        np.savez("x.npz", x=X, lengths=np.array(lengths))
    ends = np.array(lengths or [7, 7, 7])
    within = np.arange(7) < ends[:, None]
    sums = np.cumsum(X[..., 0] * within, 1)
    for chunk in (None, 1, 2, 3, 7, 9):
        y, state = run(edgernn, *([] if chunk is None else ["--chunk", str(chunk)]))
        np.testing.assert_array_equal(y["total"][..., 0], sums * within)
        np.testing.assert_array_equal(y["last"][:, 0], sums[:, -1])
        np.testing.assert_array_equal(state["s"][:, 0], sums[:, -1])


@pytest.mark.usefixtures("ending")
def test_lengths_may_be_left_out(edgernn: Invoke) -> None:
    """An array, a .csv and lines of numbers need no lengths; a line may say them once."""
    np.save("x.npy", X[0])
    Path("x.csv").write_text("1\n2\n3\n")
    sums = [1.0, 3.0, 6.0]
    assert edgernn("run", "--input", "x.npy", "--output", "y.npz").exit_code == 0
    np.testing.assert_array_equal(load("y.npz")["total"][:3, 0], sums)
    lines = {
        "1\n2\n3\n": sums,
        "[1]\n[2]\n[3]\n": sums,
        '{"x": 1}\n{"x": 2}\n{"x": 3}\n': sums,
        '{"x": 1, "lengths": 2}\n{"x": 2}\n{"x": 3}\n': [1.0, 3.0, 0.0],
    }
    for (text, totals), source in itertools.product(lines.items(), ("-", "file")):
        Path("file").write_text(text)
        result = edgernn("run", "--input", source, "--output", "y.jsonl", "--force", stdin=text)
        assert (result.stdout, result.exit_code) == ("", 0)
        found = [json.loads(line)["total"] for line in Path("y.jsonl").read_text().splitlines()]
        assert found == [[total] for total in totals]


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("options", [[], ["--chunk", "3"]], ids=["whole", "chunks"])
def test_lengths_are_of_the_input(edgernn: Invoke, options: list[str]) -> None:
    """A sequence has at least one step and at most all that come, else nothing is written."""
    arguments = ["run", "--input", "x.npz", "--output", "y.npz", "--state-out", "s.npz", *options]
    np.savez("x.npz", x=X, lengths=np.array([7, 8, 1]))
    refused(edgernn(*arguments), "`lengths` has length 8 at 1; the input has 7 steps.")
    np.savez("x.npz", x=X, lengths=np.array([7, 7, 0]))
    refused(edgernn(*arguments), "`lengths` has length 0 at 2; a sequence has at least 1 step.")
    assert sorted(path.name for path in Path().iterdir()) == ["ending.edgernn", "x.npz"]
