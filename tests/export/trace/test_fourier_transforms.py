"""Fourier transforms of a constant size, as products with constant tables."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn.export.trace.complex_numbers import ComplexNumbersError
from tests.export.trace.pair_graphs import complex_normal, largest_difference, pairs_of

NORMS = (None, "ortho", "forward")


@pytest.mark.parametrize("size", [1, 2, 7, 512, 1024])
def test_one_axis_of_any_size(size):
    """Complex and real values, and both kinds of half a spectrum, in every normalization."""
    z, half = complex_normal(3, size), complex_normal(3, size // 2 + 1)

    def function(z, half):
        return [
            result
            for norm in NORMS
            for result in (
                torch.fft.fft(z, norm=norm),
                torch.fft.ifft(z, norm=norm),
                torch.fft.fft(z.real, norm=norm),
                torch.fft.rfft(z.real, norm=norm),
                torch.fft.irfft(half, n=size, norm=norm),
                torch.fft.irfft(half.real, n=size, norm=norm),
            )
        ]

    assert largest_difference(function, z, half) < 1e-5


@settings(max_examples=12, deadline=None)
@given(
    given_size=st.integers(2, 20),
    n=st.none() | st.integers(2, 24),
    axis=st.sampled_from([0, 1, 2, -1, -2]),
    norm=st.sampled_from(NORMS),
)
def test_cut_and_filled_along_any_axis(given_size, n, axis, norm):
    """Values beyond n are left out, missing ones are zero."""
    z = complex_normal(given_size, given_size, given_size)
    names = ("fft", "ifft", "irfft")
    assert (
        largest_difference(
            lambda z: (
                [getattr(torch.fft, name)(z, n, axis, norm) for name in names]
                + [torch.fft.rfft(z.real, n, axis, norm)]
            ),
            z,
        )
        < 1e-5
    )


def test_several_axes():
    """All of them, or some, with sizes of their own."""

    def function(z):
        results = []
        for s, dim in [(None, None), ((3, 10), (0, -1)), (None, (-1, 0)), ((5, 4), None)]:
            results += [
                *(getattr(torch.fft, name)(z, s, dim) for name in ("fftn", "ifftn", "irfftn")),
                torch.fft.rfftn(z.real, s, dim),
            ]
        names = ("fft2", "ifft2", "irfft2")
        return [*results, *(getattr(torch.fft, name)(z) for name in names), torch.fft.rfft2(z.real)]

    assert largest_difference(function, complex_normal(4, 6, 8)) < 1e-5


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(2, 20),
    hop=st.none() | st.integers(1, 20),
    window=st.none() | st.integers(1, 20),
    center=st.booleans(),
    mode=st.sampled_from(["constant", "reflect"]),
    normalized=st.booleans(),
    onesided=st.sampled_from([None, False, True]),
    return_complex=st.booleans(),
)
def test_stft(n, hop, window, center, mode, normalized, onesided, return_complex):
    """Any sizes and options; without a batch too."""
    hop = hop or max(n // 4, 1)
    length = min(window or n, n)

    def function(x, w):
        return [
            torch.stft(
                signal,
                n,
                hop,
                length,
                w if window else None,
                center=center,
                pad_mode=mode,
                normalized=normalized,
                onesided=onesided,
                return_complex=return_complex,
            )
            for signal in (x, x[0])
        ]

    draw = torch.Generator().manual_seed(n)
    signal, shape = torch.randn(2, 60, generator=draw), torch.rand(length, generator=draw)
    assert largest_difference(function, signal, shape) < 1e-5


def test_stft_of_a_complex_signal():
    """The whole spectrum."""
    assert largest_difference(lambda z: torch.stft(z, 16, return_complex=True), Z) < 1e-5


Z = complex_normal(2, 80)


@settings(max_examples=15, deadline=None)
@given(
    half=st.integers(2, 10),
    overlap=st.integers(2, 4),
    frames=st.integers(4, 9),
    center=st.booleans(),
    normalized=st.booleans(),
    onesided=st.booleans(),
    length=st.none() | st.integers(1, 60),
)
def test_istft(half, overlap, frames, center, normalized, onesided, length):
    """Any sizes and options; the ends too, where fewer windows overlap; without a batch too."""
    n = 2 * half
    hop = max(n // overlap, 1)
    most = n + hop * (frames - 1) - (half if center else 0)
    z = complex_normal(2, half + 1 if onesided else n, frames)

    def function(z, window):
        return [
            torch.istft(
                spectrum,
                n,
                hop,
                n,
                window,
                center=center,
                normalized=normalized,
                onesided=onesided,
                length=length and min(length, most),
            )
            for spectrum in (z, z[0])
        ]

    assert largest_difference(function, z, torch.hamming_window(n)) < 1e-5


@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
def test_istft_is_filled_with_zeros():
    """Up to the length that was asked for."""

    def function(z):
        return torch.istft(z, 16, length=100)

    assert largest_difference(function, complex_normal(2, 9, 9)) < 1e-5


REFUSED = {
    "align_to_window": (
        lambda z: torch.ops.aten.stft(
            z.real,
            16,
            window=torch.ones(8),
            win_length=8,
            return_complex=True,
            align_to_window=True,
        ),
        "forward calls `stft` with `align_to_window`. Pad the signal instead.",
    ),
    "complex_window": (
        lambda z: torch.stft(z, 16, window=torch.ones(16) + 0j, return_complex=True),
        "forward calls `stft` with a complex window. Take a real one.",
    ),
    "complex_signal": (
        lambda z: torch.istft(z.reshape(2, 16, 5), 16, return_complex=True, onesided=False),
        "forward calls `istft` for a complex signal. Transform its real and its imaginary part by "
        "themselves.",
    ),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_form_is_refused(function, message):
    """The message names the function and what to do."""
    pairs, reals, _ = pairs_of(function, Z)
    with pytest.raises(ComplexNumbersError) as caught:
        pairs(*reals)
    assert str(caught.value) == message
