"""Train a denoiser on voices and noises that the script makes itself, sample by sample.

Writes denoiser.pt, its weights, and voice.wav and noisy.wav, a voice that it has not heard, alone
and under noise, into the current folder.
"""

from __future__ import annotations

import click
import soundfile
import torch
from torch import Tensor, nn
from torch.nn import functional as F

RATE = 8000  # samples per second
FRAME, HOP = 160, 80  # samples: frames of 20 ms, one each 10 ms
ROUNDS = 150


class Denoiser(nn.Module):
    """Multiplies the spectrum of each frame by a mask, which a GRU makes from the frames so far."""

    def __init__(self, hidden_size: int = 64) -> None:
        super().__init__()
        bins = FRAME // 2 + 1
        self.register_buffer("window", torch.hann_window(FRAME).sqrt())
        self.gru = nn.GRU(bins, hidden_size, batch_first=True)
        self.mask = nn.Linear(hidden_size, bins)

    def forward(self, sound: Tensor) -> Tensor:
        """Take sounds, (batch, samples) float32; return all but their last 10 ms without noise."""
        padded = F.pad(sound, (FRAME - HOP, 0))
        spectrum = torch.stft(
            padded, FRAME, HOP, window=self.window, center=False, return_complex=True
        )
        loudness = torch.log10(spectrum.abs().transpose(1, 2) + 0.01)
        y, _ = self.gru(loudness)
        spectrum = spectrum * self.mask(y).sigmoid().transpose(1, 2)
        frames = torch.fft.irfft(spectrum, FRAME, dim=1) * self.window[:, None]
        first, second = frames.transpose(1, 2).chunk(2, dim=2)
        return (second[:, :-1] + first[:, 1:]).flatten(1)


def between(low: float, high: float, count: int) -> Tensor:
    """Return random numbers, (count, 1)."""
    return low + (high - low) * torch.rand(count, 1)


def swing(low: float, high: float, times: Tensor, count: int) -> Tensor:
    """Return sine waves, (count, samples), of random frequencies from `low` to `high` Hz."""
    angles = between(low, high, count) * times + torch.rand(count, 1)
    return torch.sin(2 * torch.pi * angles)


def voices(count: int, seconds: int) -> Tensor:
    """Return sounds like speech, (count, samples): syllables of vowels with a gliding pitch."""
    times = torch.arange(seconds * RATE) / RATE
    pitch = between(90, 240, count) * (1 + 0.15 * swing(0.5, 2, times, count))
    phase = 2 * torch.pi * torch.cumsum(pitch / RATE, 1)
    formants = (
        (1.0, 550 + 250 * swing(1, 4, times, count), 200),
        (0.4, 1500 + 600 * swing(1, 4, times, count), 250),
    )
    sound = torch.zeros_like(pitch)
    for harmonic in range(1, 16):
        level = sum(
            height * torch.exp(-(((harmonic * pitch - center) / width) ** 2))
            for height, center, width in formants
        )
        sound += level * torch.sin(harmonic * phase)
    return 0.1 * sound * swing(1.5, 3, times, count).clamp(min=0).sqrt()


def noises(count: int, seconds: int) -> Tensor:
    """Return noises, (count, samples), each of another colour."""
    decay = torch.exp(-torch.arange(65) / between(1, 10, count))
    filters = (torch.randn(count, 65) * decay)[:, None]
    return F.conv1d(torch.randn(1, count, seconds * RATE + 64), filters, groups=count)[0]


def add_noise(sound: Tensor, decibels: Tensor) -> Tensor:
    """Return sounds under noise, with the given ratio of the sound's energy to the noise's."""
    noise = noises(len(sound), sound.shape[1] // RATE)
    ratio = sound.square().mean(1, keepdim=True) / noise.square().mean(1, keepdim=True)
    return sound + noise * (ratio / 10 ** (decibels / 10)).sqrt()


@click.command()
def main() -> None:
    """Train the denoiser and save it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(ROUNDS):
        voice = voices(16, seconds=1)
        denoised = model(add_noise(voice, between(-3, 9, 16)))
        loss = F.mse_loss(denoised, voice[:, :-HOP]) / voice.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "denoiser.pt")

    voice = voices(1, seconds=5)
    noisy = add_noise(voice, torch.full((1, 1), 2.0))
    for name, sound in {"voice.wav": voice, "noisy.wav": noisy}.items():
        soundfile.write(name, sound[0].numpy(), RATE)
    click.echo(f"loss {loss.item():.3f}; wrote denoiser.pt, voice.wav and noisy.wav")


if __name__ == "__main__":
    main()
