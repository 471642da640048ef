"""`edgernn run` from sound to sound: `--input x.wav --output y.wav`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Invoke
from tests.cli.runs import close, load, refused
from tests.nets import small_artifacts
from tests.nets.small_artifacts import expected

RATE = 8000
X = np.random.default_rng(3).normal(scale=0.2, size=(70_000, 2)).astype(np.float32)
Y = expected(X[None])[0][0]


@pytest.fixture
def sound(features: Path) -> Path:
    """A sound of two channels, longer than a block, beside the model of two features."""
    soundfile.write("x.wav", X, RATE, subtype="FLOAT")
    return features


@pytest.fixture
def with_rate(folder: Path) -> Path:
    """The same model with a sample rate of 16,000."""
    soundfile.write("x.wav", X, RATE, subtype="FLOAT")
    np.save("x.npy", X)
    return small_artifacts.features(folder / "rate.edgernn", sample_rate=16000)


@pytest.mark.parametrize("options", [(), ("--chunk", "999")])
def test_sound_to_sound(edgernn: Invoke, sound: Path, options: tuple[str, ...]) -> None:
    """Channels are features, the rate is that of the input, the numbers are those of the model."""
    result = edgernn("run", "--input", "x.wav", "--output", "y.wav", *options)
    assert result.exit_code == 0, result.output
    got, rate = soundfile.read("y.wav")
    close(got, Y)
    assert rate == RATE
    assert result.stderr.startswith("wrote   y.wav: 70,000 steps × 3 at 8,000 Hz, ")


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "jsonl"])
def test_sound_to_numbers(edgernn: Invoke, sound: Path, suffix: str) -> None:
    """Outputs of a sound are also written as numbers."""
    soundfile.write("short.wav", X[:50], RATE, subtype="FLOAT")
    assert edgernn("run", "--input", "short.wav", "--output", f"y.{suffix}").exit_code == 0
    match suffix:
        case "csv":
            got = np.loadtxt("y.csv", delimiter=",", skiprows=1)
        case "jsonl":
            got = np.array([*map(json.loads, Path("y.jsonl").read_text().splitlines())])
        case "npz":
            got = load("y.npz")["output"]
        case _:
            got = np.load("y.npy")
    close(got, Y[:50])


def test_standard_output_has_rows(edgernn: Invoke, sound: Path) -> None:
    """Without --output, each step is a row of numbers under their names."""
    soundfile.write("short.wav", X[:5], RATE, subtype="FLOAT")
    lines = edgernn("run", "--input", "short.wav").stdout.splitlines()
    assert lines[0] == "output_0,output_1,output_2"
    close([[float(cell) for cell in line.split(",")] for line in lines[1:]], Y[:5])


def test_ids(edgernn: Invoke, hello: Path) -> None:
    """A model of ids does not take sound."""
    soundfile.write("x.wav", X[:5, 0], RATE)
    refused(
        edgernn("run", "--input", "x.wav"),
        "`x.wav` is a sound, whose steps are real numbers, one per channel; "
        "`x: int64[sequence, 1]` does not take that. Give .npy, .npz or .jsonl.",
    )


def test_rate_of_the_model(edgernn: Invoke, with_rate: Path) -> None:
    """A sound of another rate than the model's is refused with both; arrays take the model's."""
    refused(
        edgernn("run", "--input", "x.wav", "--output", "y.wav"),
        "`x.wav` has 8,000 samples per second; the model takes 16,000. Resample the file, such as "
        "with `ffmpeg -i IN.wav -ar 16000 OUT.wav`.",
    )
    assert edgernn("run", "--input", "x.npy", "--output", "y.wav").exit_code == 0
    got, rate = soundfile.read("y.wav")
    close(got, Y)
    assert rate == 16000


@pytest.mark.parametrize(("source", "target"), [("x.wav", "y.npy"), ("x.npy", "y.wav")])
def test_without_soundfile(
    edgernn: Invoke, with_rate: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    """A missing soundfile is said before the model runs, with the extra that installs it."""
    for name in ("sound_reader", "sound_source", "sound_writer"):
        monkeypatch.delitem(sys.modules, f"edgernn.cli.data_files.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    result = edgernn("run", "--input", source, "--output", target)
    assert result.stderr.startswith("Error: `soundfile` is not installed, and this command needs")
    assert '[audio]"' in result.stderr
    assert not Path(target).exists()
