"""Calibration data: files and arrays that fit the model, and those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import edgernn
from edgernn.contract import Contract
from edgernn.errors import InputError
from edgernn.export.calibration_data import MOST_STEPS, read_calibration
from tests.conftest import Once
from tests.nets import hop_models
from tests.nets.scorer import Scorer


@pytest.fixture(scope="module")
def symbols(once: Once) -> Contract:
    """A model of ids with a vocabulary."""
    folder = once("scorer", lambda at: _export(Scorer(), at, vocabulary=list("abcdef")))
    return edgernn.Artifact.open(folder / "m.edgernn").contract


@pytest.fixture(scope="module")
def numbers(once: Once) -> Contract:
    """A layer over rows of three numbers."""
    folder = once("gru of numbers", lambda at: _export(nn.GRU(3, 4, batch_first=True), at))
    return edgernn.Artifact.open(folder / "m.edgernn").contract


def _export(module: nn.Module, folder: Path, **options: Any) -> None:
    edgernn.export_model(module, folder / "m.edgernn", verify=False, **options)


def test_text_is_one_sequence_of_ids(symbols, tmp_path):
    """The vocabulary gives the ids; the end of the last line has none."""
    (tmp_path / "t.txt").write_text("abcaf\n")
    user = read_calibration(tmp_path / "t.txt", symbols, {})
    assert user is not None
    np.testing.assert_array_equal(user.data["ids"], [[0, 1, 2, 0, 5]])
    assert (user.source, user.batch, user.steps, user.expected) == ("t.txt", 1, 5, {})


def test_files_of_numbers(numbers, tmp_path):
    """.npy, .npz and .csv hold the same sequence; a batch axis may be left out."""
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", input=x[None], output=np.zeros((1, 4, 4)))
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(str, row)) for row in x))
    for name in ("x.npy", "x.npz", "x.csv"):
        user = read_calibration(tmp_path / name, numbers, {})
        assert user is not None
        np.testing.assert_array_equal(user.data["input"], x[None])
        assert list(user.expected) == (["output"] if name == "x.npz" else [])


def test_long_sequences_are_cut_and_single_ones_repeated(numbers):
    """What is run is limited; a constant batch takes copies of one sequence."""
    user = read_calibration({"input": np.zeros((MOST_STEPS + 5, 3), np.float32)}, numbers, {})
    assert user is not None
    assert user.steps == MOST_STEPS
    user = read_calibration({"input": np.zeros((7, 3), np.float32)}, numbers, {"batch": 2})
    assert user is not None
    assert (user.batch, user.data["input"].shape) == (2, (2, 7, 3))


ROWS = np.zeros((4, 3), np.float32)
REFUSED: dict[str, tuple[Any, str]] = {
    "unknown": (
        {"x": ROWS},
        "The calibration data (arrays) hold an array `x`, which is no port of the model. Ports are "
        "`input`, `output`.",
    ),
    "missing": (
        {"output": ROWS},
        "`input` is missing: the model takes `input: float32[batch, sequence, 3]`.",
    ),
    "NaN": (
        {"input": np.full((2, 3), np.nan, np.float32)},
        "The calibration data (arrays) holds nan at (0, 0, 0) for `input: float32[batch, sequence, "
        "3]`; a recurrence never recovers from it. Give finite numbers.",
    ),
    "text": (
        {"input": np.array([["a"]])},
        "The calibration data (arrays) holds text for `input: float32[batch, sequence, 3]`; it "
        "must hold numbers.",
    ),
    "text for an output": (
        {"input": ROWS, "output": np.array([["a"]])},
        "The calibration data (arrays) holds text for `output: float32[batch, sequence, 4]`; it "
        "must hold numbers.",
    ),
    "axes": (
        {"input": np.zeros(3, np.float32)},
        "The calibration data (arrays) has shape (3,); `input: float32[batch, sequence, 3]` takes "
        "3 axes (or 2, without the batch axis). Reshape the array.",
    ),
    "features": (
        {"input": np.zeros((4, 2), np.float32)},
        "`input: float32[batch, sequence, 3]` came with shape (1, 4, 2): axis 2 must be 3, not 2.",
    ),
    "empty": (
        {"input": np.zeros((0, 3), np.float32)},
        "`input: float32[batch, sequence, 3]` came with shape (1, 0, 3): there must be at least "
        "one step.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_do_not_fit_name_the_port(numbers, case):
    """Each message says which port takes what."""
    given, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        read_calibration(given, numbers, {})
    assert str(caught.value) == message


def test_what_is_expected_has_the_shape_of_the_data(numbers):
    """It is cut where the data is, and has a batch axis of the same size."""
    steps = MOST_STEPS + 5
    x, wanted = np.zeros((steps, 3), np.float32), np.arange(4.0 * steps).reshape(steps, 4)
    for given in (wanted, wanted[None]):
        user = read_calibration({"input": x, "output": given}, numbers, {"batch": 2})
        assert user is not None
        expected = np.stack([wanted[:MOST_STEPS]] * 2)
        np.testing.assert_array_equal(user.expected["output"], expected)
    user = read_calibration({"input": x[:7], "output": np.zeros(9, np.int64)}, numbers, {})
    assert user is not None
    assert user.expected["output"].shape == (1, 9)


@pytest.mark.parametrize("steps", [7, MOST_STEPS + 5])
def test_what_is_expected_with_other_axes_stays_as_it_is(numbers, steps):
    """Only a run tells the shape of an output, so that its message names both."""
    x = np.zeros((steps, 3), np.float32)
    for given in (np.float32(1), np.ones(4, np.float32), np.ones((1, 1, 1, 4), np.float32)):
        user = read_calibration({"input": x, "output": given}, numbers, {"batch": 2})
        assert user is not None
        np.testing.assert_array_equal(user.expected["output"], given)


def test_what_is_expected_of_frames_is_cut_to_whole_hops(tmp_path):
    """A frame is expected for each hop that is run."""
    _export(hop_models.FramedGru(4, 4), tmp_path)
    contract = edgernn.Artifact.open(tmp_path / "m.edgernn").contract
    data = {"x": np.zeros((21, 3), np.float32), "output": np.zeros((6, 5), np.float32)}
    user = read_calibration(data, contract, {})
    assert user is not None
    assert (user.steps, user.expected["output"].shape) == (20, (1, 5, 5))


def test_ids_and_text_outside_the_model(symbols, tmp_path):
    """An id that is too large names the port, a symbol outside the vocabulary its place."""
    with pytest.raises(InputError) as caught:
        read_calibration({"ids": np.array([[1, 6]])}, symbols, {})
    assert str(caught.value) == (
        "`ids: int64[batch, sequence]` has id 6 at (0, 1); the model knows ids 0 to 5."
    )
    (tmp_path / "t.txt").write_text("abz")
    with pytest.raises(InputError) as caught:
        read_calibration(tmp_path / "t.txt", symbols, {})
    assert str(caught.value) == (
        "`z` at position 2 of the text is not in the vocabulary of 6 symbols, which has no unknown "
        "symbol. Known are: 'a' 'b' 'c' 'd' 'e' 'f'"
    )
    (tmp_path / "t.txt").write_text("")
    with pytest.raises(InputError) as caught:
        read_calibration(tmp_path / "t.txt", symbols, {})
    assert str(caught.value) == (
        "`ids: int64[batch, sequence]` came with shape (1, 0): there must be at least one step."
    )


def test_a_file_that_is_not_there(numbers, tmp_path):
    """The message names the file."""
    with pytest.raises(InputError) as caught:
        read_calibration(tmp_path / "none.npy", numbers, {})
    assert str(caught.value) == (
        f"`calibrate` `{tmp_path / 'none.npy'}` cannot be read: No such file or directory."
    )
