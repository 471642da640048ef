"""What is written, in which format, and what does not fit one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.data_files.output_writer import open_output
from edgernn.contract import Port
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes

Y = np.array([[[0.1, -2.0], [3.5, 1e-8]]], np.float32)
AXES = {"y": PortAxes.of(Port("y", "float32", ("batch", "sequence", 2)))}
LAST = {**AXES, "last": PortAxes.of(Port("last", "int64", ("batch",)))}
DEEP = {"y": PortAxes.of(Port("y", "float32", ("sequence", "batch", 2, 2)))}
FLAT = {"y": PortAxes.of(Port("y", "float32", ("batch*sequence", 2)))}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def target(name: str) -> OutputFile:
    return OutputFile(Path(name), replace=True)


def written(name: str, axes: dict[str, PortAxes], batched: bool, *chunks: dict[str, object]) -> str:
    with open_output(target(name), "", OutputLayout(axes, batched, None)) as output:
        for chunk in chunks:
            output.write({port: np.asarray(array) for port, array in chunk.items()})
    return Path(name).read_text()


def test_numbers_are_shortest() -> None:
    """A float32 is written as short as reads back the same, one step a line."""
    assert written("y.csv", AXES, False, {"y": Y}) == "y_0,y_1\n0.1,-2.0\n3.5,1e-08\n"
    assert written("y.jsonl", AXES, False, {"y": Y}) == "[0.1, -2.0]\n[3.5, 1e-08]\n"


def test_batch_axis_is_kept() -> None:
    """Lines keep the batch axis where the input had it."""
    assert written("y.jsonl", AXES, True, {"y": Y}) == "[[0.1, -2.0]]\n[[3.5, 1e-08]]\n"


def test_without_axis_of_steps() -> None:
    """An output without an axis of steps stands in the last line of its chunk."""
    assert written("y.jsonl", LAST, False, {"y": Y, "last": [4]}, {"y": Y, "last": [5]}) == (
        '{"y": [0.1, -2.0]}\n{"y": [3.5, 1e-08], "last": 4}\n'
        '{"y": [0.1, -2.0]}\n{"y": [3.5, 1e-08], "last": 5}\n'
    )


def test_last_of_chunks() -> None:
    """In arrays the chunks are joined, and of an output without steps the last one counts."""
    chunks = [{"y": Y, "last": np.array([4])}, {"y": 2 * Y, "last": np.array([5])}]
    for steps in (None, {"y": 4}, {"y": 7}):
        with open_output(target("y.npz"), "", OutputLayout(LAST, False, steps)) as output:
            for chunk in chunks:
                output.write(chunk)
        with np.load("y.npz") as archive:
            np.testing.assert_array_equal(archive["y"], np.concatenate([Y, 2 * Y], 1)[0])
            np.testing.assert_array_equal(archive["last"], 5)


def test_flattened_axis() -> None:
    """Steps and sequences in one axis are the steps of one sequence."""
    rows = 2 * "0.1,-2.0\n3.5,1e-08\n"
    assert written("y.csv", FLAT, False, {"y": Y[0]}, {"y": Y[0]}) == "y_0,y_1\n" + rows


def test_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal gets no bytes of an array but its numbers."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with open_output(None, "npy", OutputLayout(AXES, True, None)) as output:
        output.write({"y": Y})
    assert capsys.readouterr().out == (
        "y: float32[1, 2, 2]\n[[[ 1.0e-01 -2.0e+00]\n  [ 3.5e+00  1.0e-08]]]\n"
    )


def test_terminal_shows_the_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of many numbers a terminal gets the first and the last, and the option for all."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with open_output(None, "npy", OutputLayout(AXES, False)) as output:
        output.write({"y": np.arange(200, dtype=np.float32).reshape(1, 100, 2)})
    shown = capsys.readouterr()
    assert shown.out == (
        "y: float32[100, 2]\n"
        "[[  0.   1.]\n [  2.   3.]\n [  4.   5.]\n [  6.   7.]\n ...\n"
        " [192. 193.]\n [194. 195.]\n [196. 197.]\n [198. 199.]]\n"
    )
    assert shown.err == "To get all numbers: --output FILE\n"


def test_fallback(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output takes .jsonl where the outputs do not fit .csv."""
    with open_output(None, "csv", OutputLayout(DEEP, False, None)) as output:
        output.write({"y": np.zeros((1, 1, 2, 2), np.float32)})
    assert capsys.readouterr().out == "[[0.0, 0.0], [0.0, 0.0]]\n"


def test_header_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows on standard output have names above them where the layout says so."""
    for header in (False, True):
        with open_output(None, "csv", OutputLayout(AXES, False, header=header)) as output:
            output.write({"y": Y[:, :1]})
            output.write({"y": Y[:, 1:]})
    rows = "0.1,-2.0\n3.5,1e-08\n"
    assert capsys.readouterr().out == rows + "y_0,y_1\n" + rows


@pytest.mark.parametrize(
    ("name", "axes", "message"),
    [
        (
            "y.npy",
            LAST,
            "`y.npy` holds one output; the model has 2: `y`, `last`. Write .npz or .jsonl.",
        ),
        (
            "y.csv",
            LAST,
            "`y.csv` holds one output; the model has 2: `y`, `last`. Write .npz or .jsonl.",
        ),
        (
            "y.csv",
            DEEP,
            "`y.csv` holds one row per step; `y: float32[sequence, batch, 2, 2]` has more axes "
            "than that. Write .npy or .jsonl.",
        ),
    ],
)
def test_does_not_fit(name: str, axes: dict[str, PortAxes], message: str) -> None:
    """A format that cannot hold the outputs is refused before the model runs."""
    with (
        pytest.raises(InputError) as caught,
        open_output(target(name), "", OutputLayout(axes, False, None)),
    ):
        pytest.fail("the model would run")
    assert (str(caught.value), os.listdir()) == (message, [])


def test_several_sequences_as_rows() -> None:
    """Rows hold one sequence."""
    with pytest.raises(InputError) as caught:
        written("y.csv", AXES, True, {"y": np.zeros((3, 2, 2), np.float32)})
    assert str(caught.value) == "`y` has 3 sequences; .csv holds one. Write .npy, .npz or .jsonl."
    assert os.listdir() == []


def test_failure_keeps_the_old_file() -> None:
    """What stood under the name before stays when the run fails."""
    Path("y.npy").write_text("before")

    def fail() -> None:
        with open_output(target("y.npy"), "", OutputLayout(AXES, True, {"y": 4})) as output:
            output.write({"y": Y})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (Path("y.npy").read_text(), os.listdir()) == ("before", ["y.npy"])


def test_disk_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without the space for all chunks is found out at the first, by an exception."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with (
        pytest.raises(OSError, match="No space left on device"),
        open_output(target("y.npy"), "", OutputLayout(AXES, True, {"y": 4})) as output,
    ):
        output.write({"y": Y})
    assert os.listdir() == []
