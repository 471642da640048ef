"""Outputs as sound files: how values are stored, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.data_files.output_writer import open_output
from edgernn.contract import Port
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes

VALUES = np.random.default_rng(1).normal(scale=0.2, size=(1, 900, 2)).astype(np.float32)

Axes = dict[str, PortAxes]


def port(*shape: int | str, dtype: str = "float32", name: str = "y") -> Axes:
    return {name: PortAxes.of(Port(name, dtype, shape))}


STEREO = port("batch", "sequence", 2)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, axes: Axes, *chunks: NDArray[Any], rate: float | None = 8000) -> None:
    layout = OutputLayout(axes, False, rates={} if rate is None else {"y": rate})
    with open_output(OutputFile(Path(name)), "sound", layout) as output:
        for chunk in chunks:
            output.write({"y": chunk})


@pytest.mark.parametrize(
    ("axes", "chunks"),
    [
        (STEREO, (VALUES[:, :400], VALUES[:, 400:400], VALUES[:, 400:])),
        (port("batch", 2, "sequence"), (VALUES.transpose(0, 2, 1),)),
        (port("sequence", "batch", 2), (VALUES.transpose(1, 0, 2),)),
    ],
)
def test_wav_is_exact(axes: Axes, chunks: tuple[NDArray[Any], ...]) -> None:
    """A .wav holds the values of the model, those beyond 1 too; features are channels."""
    write("y.wav", axes, *(4 * chunk for chunk in chunks))
    got, rate = soundfile.read("y.wav", dtype="float32")
    np.testing.assert_array_equal(got, 4 * VALUES[0])
    assert (rate, soundfile.info("y.wav").subtype) == (8000, "FLOAT")


def test_one_channel() -> None:
    """An output without features has one channel."""
    write("y.wav", port("batch", "sequence"), VALUES[..., 0])
    np.testing.assert_array_equal(soundfile.read("y.wav", dtype="float32")[0], VALUES[0, :, 0])


def test_flac_has_16_bits(capsys: pytest.CaptureFixture[str]) -> None:
    """A .flac rounds to 16 bits, and a note says how many values were clipped."""
    values = VALUES.copy()
    values[0, 3] = 1.5, -2
    write("y.flac", STEREO, values)
    got = soundfile.read("y.flac")[0]
    np.testing.assert_allclose(got, values[0].clip(-1, 1), atol=1 / 32768)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "clipped 2 of 1,800 values, which were above 1 or below -1. A .wav keeps them."
    ]


def test_ogg_of_many_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """An .ogg takes a chunk of any length."""
    tone = (0.5 * np.sin(np.arange(3_000_000, dtype=np.float32) / 10))[None]
    write("y.ogg", port("batch", "sequence"), tone)
    np.testing.assert_allclose(soundfile.read("y.ogg")[0], tone[0], atol=0.05)
    assert "clipped" not in capsys.readouterr().err


def test_note(capsys: pytest.CaptureFixture[str]) -> None:
    """The note says the rate."""
    write("y.wav", STEREO, VALUES)
    assert capsys.readouterr().err.startswith("wrote   y.wav: 900 steps × 2 at 8,000 Hz, ")


REFUSED = {
    "no rate": (
        STEREO,
        VALUES,
        None,
        "`y.wav` needs a sampling rate, which neither the input nor the model has. Give a sound "
        "with --input, or export the model with --rate.",
    ),
    "fraction": (
        STEREO,
        VALUES,
        62.5,
        "`y: float32[batch, sequence, 2]` has 62.5 steps per second, and `y.wav` needs a rate that "
        "is an integer. Write .npy or .csv.",
    ),
    "two outputs": (
        {**STEREO, **port("batch", "sequence", name="z")},
        VALUES,
        8000,
        "`y.wav` holds one output; the model has 2: `y`, `z`. Write .npz or .jsonl.",
    ),
    "ids": (
        port("batch", "sequence", dtype="int64"),
        VALUES,
        8000,
        "`y.wav` holds real numbers, one per channel and step; `y: int64[batch, sequence]` is "
        "something else. Write .npy or .jsonl.",
    ),
    "no steps": (
        port("batch", 2),
        VALUES,
        8000,
        "`y.wav` holds real numbers, one per channel and step; `y: float32[batch, 2]` is something "
        "else. Write .npy or .jsonl.",
    ),
    "sequences": (
        STEREO,
        np.concatenate([VALUES, VALUES]),
        8000,
        "`y` has 2 sequences; a sound holds one. Write .npy, .npz or .jsonl.",
    ),
    "nan": (
        STEREO,
        np.full_like(VALUES, np.nan),
        8000,
        "`y` has values that are NaN or infinite, which are no sound. Write .npy, .npz or .csv to "
        "look for them.",
    ),
}


@pytest.mark.parametrize(
    ("axes", "values", "rate", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_refused(axes: Axes, values: NDArray[Any], rate: float | None, message: str) -> None:
    """What is no sound is refused, and no file is left."""
    with pytest.raises(InputError) as caught:
        write("y.wav", axes, values, rate=rate)
    assert str(caught.value) == message
    assert os.listdir() == []


def test_too_many_channels() -> None:
    """A format that does not take so many channels is named, and no file is left."""
    axes = port("batch", "sequence", 9)
    with pytest.raises(InputError) as caught:
        write("y.flac", axes, np.zeros((1, 5, 9), np.float32))
    assert str(caught.value) == (
        "`y.flac` cannot be written as FLAC with 9 channels of 8,000 Hz: Format not recognised. "
        "Write .npy or .csv."
    )
    assert os.listdir() == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_pipe() -> None:
    """A pipe is refused before anything is run."""
    os.mkfifo("y.wav")
    with pytest.raises(InputError) as caught:
        write("y.wav", STEREO, VALUES)
    assert str(caught.value) == (
        "`y.wav` is a device or pipe, and a sound needs a file, as its header is written last. "
        "Name a file, or write .csv or .jsonl."
    )
