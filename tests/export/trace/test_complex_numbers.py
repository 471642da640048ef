"""Models that compute with complex numbers, as graphs of real ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export import export_model

N, HOP = 32, 8
BINS = N // 2 + 1
X = torch.randn(2, 120, generator=torch.Generator().manual_seed(0))


class Masked(nn.Module):
    """A GRU that computes a mask of a spectrum from its magnitudes.

    Args:
        padded: How the ends are padded, or None for no padding.
        length: Whether the signal gets the length of the input.
    """

    def __init__(self, padded: str | None = None, length: bool = False, width: int = BINS) -> None:
        super().__init__()
        self.window = nn.Buffer(torch.hann_window(N))
        self.rnn = nn.GRU(width, 8, batch_first=True)
        self.mask = nn.Linear(8, width)
        self.padded = padded
        self.length = length

    def forward(self, x):
        z = self.spectrum(x)
        y = z * self.masks(z.abs().transpose(1, 2)).sigmoid().transpose(1, 2)
        length = x.shape[1] if self.length else None
        return torch.istft(y, N, HOP, window=self.window, length=length)

    def spectrum(self, x):
        padding = {"pad_mode": self.padded} if self.padded else {"center": False}
        return torch.stft(x, N, HOP, window=self.window, return_complex=True, **padding)

    def masks(self, features):
        return self.mask(self.rnn(features)[0])


class Magnitudes(Masked):
    def forward(self, x):
        return self.masks((self.spectrum(x).abs().square() + 1e-5).log().mT)


class ComplexRatio(Masked):
    def forward(self, x):
        z = self.spectrum(x).transpose(1, 2)
        mask = self.masks(torch.cat([z.real, z.imag], -1))
        mask = torch.view_as_complex(mask.unflatten(-1, (BINS, 2)).contiguous())
        return torch.istft((z * mask).transpose(1, 2), N, HOP, window=self.window)


class Phases(Masked):
    def forward(self, x):
        z = self.spectrum(x)
        magnitude = z.abs() * self.masks(z.abs().mT).sigmoid().mT
        z = torch.polar(magnitude, z.angle()) + magnitude * torch.exp(1j * z.angle())
        return torch.istft(z, N, HOP, window=self.window)


class Weighted(nn.Module):
    """Complex weights and a complex buffer, of frames that the caller gives."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Buffer(torch.polar(torch.ones(BINS), torch.arange(BINS) / 5))
        self.mix = nn.Linear(BINS, BINS, dtype=torch.complex64)
        self.rnn = nn.LSTM(BINS, 8, batch_first=True)
        self.mask = nn.Linear(8, BINS)

    def forward(self, frames):
        z = self.mix(torch.fft.rfft(frames) * self.turn)
        mask = self.mask(self.rnn(z.abs())[0])
        return torch.fft.irfft(z * mask, n=N), torch.view_as_real(z[..., 0])


MODELS = {
    "reflected": (Masked("reflect", length=True), X),
    "valid": (Masked(), X),
    "magnitudes": (Magnitudes(), X),
    "complex_ratio": (ComplexRatio(width=2 * BINS), X),
    "phases": (Phases(), X),
    "weighted": (Weighted(), torch.randn(2, 5, N)),
}


@pytest.mark.parametrize(("model", "x"), MODELS.values(), ids=MODELS)
def test_models_with_complex_numbers_are_exported(model, x, tmp_path):
    """Their sequence graph agrees with eager torch; batch and sequence are dynamic."""
    artifact = export_model(model.eval(), tmp_path / "m.edgernn", inputs=(x,), graph="sequence")
    (port,) = artifact.contract.data_inputs("sequence")
    assert port.shape[:2] == ("batch", "sequence")
    assert artifact.parity is not None
    assert max(check.difference for check in artifact.parity.checks) < 1e-4


class Returns(Masked):
    def forward(self, x):
        z = self.spectrum(x)
        return self.masks(z.abs().mT), z


class Whole(nn.Module):
    """Transforms along the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(torch.fft.fft(x, dim=1).real)[0]


class Turns(nn.Module):
    """A loop whose state is complex."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.polar(torch.full((4,), 0.9), torch.arange(4.0)))
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        z = torch.zeros(x.shape[0], 4, dtype=torch.complex64)
        steps = []
        for step in range(x.shape[1]):
            z = z * self.turn + x[:, step]
            steps.append(z.real)
        return self.rnn(torch.stack(steps, 1))[0]


class Keeps(nn.Module):
    """Keeps a complex number from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)
        self.last: torch.Tensor
        self.register_buffer("last", torch.zeros(4, dtype=torch.complex64))

    def forward(self, x):
        z = torch.complex(x, 2 * x) + self.last
        self.last = z.mean((0, 1))
        return self.rnn(z.abs())[0]


STEPS = torch.randn(2, 5, 4)
REFUSED = {
    "returns": (
        Returns(),
        X,
        "`Returns` cannot be traced: forward returns complex numbers as `[1]`, which ONNX does "
        "not have. Return `torch.view_as_real(z)`, whose last axis has the real and the imaginary "
        "part.",
    ),
    "whole": (
        Whole(),
        STEPS,
        "`Whole` cannot be traced: forward calls `fft_fft` at "
        "tests/export/trace/test_complex_numbers.py:{line} (`return "
        "self.rnn(torch.fft.fft(x, dim=1).real)[0]`) along an axis whose size varies, and a graph "
        "has a table of one size. Transform frames of a constant size, such as "
        "`x.unfold(-1, 512, 256)`.",
    ),
    "loop": (
        Turns(),
        STEPS,
        "`Turns` cannot be traced: forward takes complex numbers through a loop over time, and "
        "states are real. Let the loop take the real and the imaginary part as two tensors.",
    ),
    "keeps": (
        Keeps(),
        STEPS,
        "`Keeps.forward` keeps `self.last` from call to call, and no state can replace it: the "
        "numbers of a state are real. Keep `torch.view_as_real(z)`, and read it with "
        "`torch.view_as_complex`.",
    ),
}


@pytest.mark.parametrize(("model", "x", "message"), REFUSED.values(), ids=REFUSED)
def test_complex_numbers_without_a_form_are_refused(model, x, message, tmp_path):
    """The message says where they are and what to do."""
    with pytest.raises(UnsupportedModelError) as caught:
        export_model(model.eval(), tmp_path / "m.edgernn", inputs=(x,))
    line = Whole.forward.__code__.co_firstlineno + 1
    assert str(caught.value) == message.replace("{line}", str(line))


def test_complex_inputs_are_refused(tmp_path):
    """They are given as pairs."""
    with pytest.raises(InputError) as caught:
        export_model(Whole(), tmp_path / "m.edgernn", inputs=(STEPS + 0j,))
    assert str(caught.value) == (
        "`x:complex64[2,5,4]` is of a dtype that graphs do not take as an input; they take "
        "float32, int64, int32, bool. Give `torch.view_as_real(z)`, and let forward begin with "
        "`torch.view_as_complex`."
    )
