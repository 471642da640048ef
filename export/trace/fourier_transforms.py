"""Fourier transforms of a constant size, as products with constant tables.

`stft` is a convolution with stride, whose kernels are the windowed rows of a table. `istft` is the
transposed one, which adds frames where they overlap. Tables of real values have half of the
spectrum.

Tables are computed in float64. Results differ from torch's by the rounding of sums of n products:
by less than 1e-5 of the largest magnitude, for n up to 1024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from edgernn.export.trace.pairs import Pair, Rule, UnsupportedForm

__all__ = ["FOURIER_TRANSFORMS"]

_Sizes = Sequence[int] | None

_SMALLEST_ENVELOPE = 1e-11
"""Where the squares of overlapping windows add up to less, torch's istft raises an error."""

_DIVISORS: Mapping[str | None, tuple[float, float]] = {
    None: (0, 1),
    "backward": (0, 1),
    "ortho": (0.5, 0.5),
    "forward": (1, 0),
}
"""Normalization → the powers of n by which a transform and its inverse are divided."""


def _fft(
    x: Any,
    n: int | None = None,
    dim: int = -1,
    norm: str | None = None,
    *,
    inverse: bool = False,
    half: bool = False,
) -> Pair:
    """Transform along one axis; real values to `half` of the spectrum, or all of it."""
    size = _constant(_one_part(x).shape[dim] if n is None else n)
    bins = size // 2 + 1 if half else size
    wave = _waves(size, bins, inverse)
    rows = [wave, 1j * wave] if isinstance(x, Pair) else [wave]
    table = np.vstack([np.hstack([row.real, row.imag]) for row in rows])
    spectrum = _product(x, size, dim, table / size ** _DIVISORS[norm][inverse])
    real, imag = torch.split(spectrum, bins, -1)
    return Pair(real.movedim(-1, dim), imag.movedim(-1, dim))


def _irfft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> torch.Tensor:
    """Return the real values of half of a spectrum, of which only the first n // 2 + 1 count."""
    size = _constant(2 * (_one_part(x).shape[dim] - 1) if n is None else n)
    bins = size // 2 + 1
    table = _inverse_table(size, norm)[: None if isinstance(x, Pair) else bins]
    return _product(x, bins, dim, table).movedim(-1, dim)


def _fftn(
    x: Any,
    s: _Sizes = None,
    dim: _Sizes = None,
    norm: str | None = None,
    *,
    last: Callable[..., Any] = _fft,
    inverse: bool = False,
) -> Any:
    """Transform along several axes; with `last` along the last one.

    That comes first where it takes real values, and last where it returns them.
    """
    if dim is None:
        dim = range(-(_one_part(x).dim() if s is None else len(s)), 0)
    sizes = [None] * len(dim) if s is None else [None if n == -1 else n for n in s]
    axes = list(zip(dim, sizes, strict=True))
    steps: list[tuple[Callable[..., Any], tuple[int, int | None]]]
    steps = [(partial(_fft, inverse=inverse), one) for one in axes[:-1]]
    steps.insert(len(steps) if inverse else 0, (last, axes[-1]))
    for transform, (axis, size) in steps:
        x = transform(x, size, axis, norm)
    return x


def _stft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    *,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """Return the spectra of windows of a signal: (batch, bins, frames), or without batch."""
    if align_to_window:
        raise UnsupportedForm("with `align_to_window`. Pad the signal instead.")
    _check_window(window)
    signals = [x.real, x.imag] if isinstance(x, Pair) else [x]
    onesided = len(signals) == 1 if onesided is None else onesided
    wave = _waves(n_fft, n_fft // 2 + 1 if onesided else n_fft, inverse=False).T
    wave = wave / n_fft ** (0.5 if normalized else 0)
    table = _like(np.vstack([wave.real, wave.imag]), signals[0])
    kernel = (table * _padded_window(window, n_fft, win_length, table)).unsqueeze(1)
    spectra = []
    for signal in signals:
        rows = signal if signal.dim() == 2 else signal.unsqueeze(0)
        frames = F.conv1d(rows.unsqueeze(1), kernel, stride=hop_length or n_fft // 4)
        frames = frames if signal.dim() == 2 else frames.squeeze(0)
        spectra.append(Pair(*torch.split(frames, len(wave), -2)))
    result, *imaginary = spectra
    for one in imaginary:
        result = Pair(result.real - one.imag, result.imag + one.real)
    return torch.stack([result.real, result.imag], -1) if return_complex is False else result


def _istft(
    x: Pair,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    *,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> torch.Tensor:
    """Add the signals of spectra (batch, bins, frames) where they overlap: (batch, samples)."""
    if return_complex:
        raise UnsupportedForm(
            "for a complex signal. Transform its real and its imaginary part by themselves."
        )
    _check_window(window)
    bins, hop = n_fft // 2 + 1, hop_length or n_fft // 4
    halves = [x.real, x.imag] if x.real.dim() == 3 else [x.real.unsqueeze(0), x.imag.unsqueeze(0)]
    spectrum = torch.cat([one[:, :bins] for one in halves], 1)
    table = _like(_inverse_table(n_fft, "ortho" if normalized else None), spectrum)
    shape = _padded_window(window, n_fft, win_length, table)
    signal = F.conv_transpose1d(spectrum, (table * shape).unsqueeze(1), stride=hop)
    # at both ends of the signal fewer windows overlap
    frames = torch.ones_like(halves[0][:, :1])
    envelope = F.conv_transpose1d(frames, (shape * shape).reshape(1, 1, n_fft), stride=hop)
    signal = (signal / envelope.clamp(min=_SMALLEST_ENVELOPE)).squeeze(1)
    signal = signal if x.real.dim() == 3 else signal.squeeze(0)
    start = n_fft // 2 if center else 0
    if length is None:
        return signal[..., start : -start if start else None]
    if start + length > signal.shape[-1]:
        signal = F.pad(signal, [0, start + length - signal.shape[-1]])
    return signal[..., start : start + length]


def _waves(n: int, bins: int, inverse: bool) -> npt.NDArray[np.complex128]:
    """Return exp(∓2πi·t·k / n) of times t and frequencies k: (n, bins)."""
    turns = np.outer(np.arange(n), np.arange(bins)) % n
    # so that sines of whole and half turns are zero
    waves: npt.NDArray[np.complex128] = np.exp((2j if inverse else -2j) * np.pi * turns / n)
    return waves.round(15)


def _inverse_table(n: int, norm: str | None) -> npt.NDArray[np.float64]:
    """Return the table from real, then imaginary parts of half a spectrum to n values."""
    wave = _waves(n, n // 2 + 1, inverse=True).T / n ** _DIVISORS[norm][1]
    # the other half of the spectrum gives as much, except of the frequencies that have no other
    wave[1 : (n + 1) // 2] *= 2
    return np.vstack([wave.real, -wave.imag])


def _product(x: Any, size: int, axis: int, table: npt.NDArray[np.float64]) -> torch.Tensor:
    """Multiply the first `size` values along an axis, which becomes the last one, with a table."""
    halves = [x.real, x.imag] if isinstance(x, Pair) else [x]
    values = torch.cat([_resize(one.movedim(axis, -1), size) for one in halves], -1)
    if not values.is_floating_point():
        values = values.to(torch.get_default_dtype())
    return values @ _like(table, values)


def _resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Cut or fill the last axis with zeros."""
    given = _constant(x.shape[-1])
    return x if given == size else F.pad(x, [0, size - given])


def _constant(size: Any) -> int:
    if type(size) is not int:
        raise UnsupportedForm(
            "along an axis whose size varies, and a graph has a table of one size. Transform "
            "frames of a constant size, such as `x.unfold(-1, 512, 256)`."
        )
    return size


def _one_part(x: Any) -> torch.Tensor:
    return x.real if isinstance(x, Pair) else x


def _check_window(window: Any) -> None:
    if isinstance(window, Pair):
        raise UnsupportedForm("with a complex window. Take a real one.")


def _padded_window(
    window: torch.Tensor | None, n_fft: int, win_length: int | None, like: torch.Tensor
) -> torch.Tensor:
    """Return the window with zeros on both sides: (n_fft,)."""
    size = n_fft if win_length is None else win_length
    if window is None:
        window = like.new_ones(size)
    left = (n_fft - size) // 2
    return window if size == n_fft else F.pad(window, [left, n_fft - size - left])


def _like(table: npt.NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(table, dtype=like.dtype)


_ifft = partial(_fft, inverse=True)
_rfft = partial(_fft, half=True)
_fft2 = partial(_fftn, dim=(-2, -1))

FOURIER_TRANSFORMS: Mapping[str, Rule] = {
    "fft_fft": _fft,
    "fft_fft2": _fft2,
    "fft_fftn": _fftn,
    "fft_ifft": _ifft,
    "fft_ifft2": partial(_fft2, last=_ifft, inverse=True),
    "fft_ifftn": partial(_fftn, last=_ifft, inverse=True),
    "fft_irfft": _irfft,
    "fft_irfft2": partial(_fft2, last=_irfft, inverse=True),
    "fft_irfftn": partial(_fftn, last=_irfft, inverse=True),
    "fft_rfft": _rfft,
    "fft_rfft2": partial(_fft2, last=_rfft),
    "fft_rfftn": partial(_fftn, last=_rfft),
    "istft": _istft,
    "stft": _stft,
}
"""Name of an operator → a function of its arguments, complex ones as pairs."""
