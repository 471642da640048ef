"""examples/denoiser: frames of sound, a mask and overlap-add, trained and run on sound files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import edgernn as library
from tests.conftest import Once
from tests.examples.scripts import EXAMPLES, edgernn, script, train_once

INPUT = "sound:float32[batch,sequence]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Path:
    """The trained model, its artifact and its sounds."""
    path = tmp_path_factory.mktemp("denoiser")
    train_once("denoiser", path, once)
    code = f"{EXAMPLES / 'denoiser' / 'train.py'}:Denoiser"
    options = ("--module", code, "--input", INPUT, "--rate", "8000")
    edgernn(path, "export", "denoiser.pt", *options)
    edgernn(path, "run", "denoiser.edgernn", "--input", "noisy.wav", "--output", "denoised.wav")
    return path


def decibels(voice: np.ndarray, sound: np.ndarray) -> float:
    """Return how much louder a voice is than what differs from it."""
    voice = voice[: len(sound)]
    return float(10 * np.log10(np.square(voice).sum() / np.square(sound - voice).sum()))


def test_voice_comes_out_of_the_noise(folder: Path) -> None:
    """What `edgernn run` writes is at least 5 dB cleaner than what it read."""
    voice, noisy, denoised = (
        soundfile.read(folder / f"{name}.wav")[0] for name in ("voice", "noisy", "denoised")
    )
    assert decibels(voice, noisy) == pytest.approx(2, abs=0.1)
    assert decibels(voice, denoised) > 7


def test_sound_file_is_eager_torchs(folder: Path) -> None:
    """The file has what the trained module gives for the whole sound."""
    model = script("denoiser").Denoiser()
    model.load_state_dict(torch.load(folder / "denoiser.pt", weights_only=True))
    noisy, rate = soundfile.read(folder / "noisy.wav", dtype="float32")
    with torch.no_grad():
        expected = model(torch.from_numpy(noisy[None]))[0].numpy()
    denoised, written = soundfile.read(folder / "denoised.wav", dtype="float32")
    assert written == rate == 8000
    assert len(denoised) == len(expected) == len(noisy) - 80
    np.testing.assert_allclose(denoised, expected, atol=1e-5)


def test_a_hop_is_ten_milliseconds(folder: Path) -> None:
    """One step takes 80 samples and gives 80, ten milliseconds later."""
    contract = library.load(folder / "denoiser.edgernn").contract
    assert contract.step is not None
    assert str(contract.step.inputs[0]) == "sound: float32[batch, 80]"
    assert (contract.hop, dict(contract.delays)) == (80, {"output": 80})
    assert contract.seconds(80, "output") == 0.01
