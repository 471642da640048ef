"""float32 weights as integers in 8 bits, and scales.

Weights that are read in every step, R, are signed bytes within a bound; others are unsigned bytes.
ONNX Runtime multiplies unsigned by signed bytes fastest on CPUs without VNNI, in sums of 16 bits,
which saturate beyond the bound; and unsigned by unsigned bytes in 32 bits, which never do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST",
    "PAIR_LIMIT",
    "ZERO_POINT",
    "max_pair_sums",
    "quantize_full_range",
    "quantize_pair_bounded",
    "quantize_unsigned",
]

LARGEST = 127
"""The largest distance of an integer from its zero point."""

ZERO_POINT = 128
"""The zero point of unsigned bytes, which are 1 … 255."""

PAIR_LIMIT = 128
"""The largest sum of two neighbouring signed weights of one sign.

x86 CPUs without VNNI multiply unsigned by signed bytes with PMADDUBSW, which adds the products of
two neighbours along the summed axis in 16 bits, with saturation: a₀·w₀ + a₁·w₁ has to be within
-32,768 … 32,767. It is linear in a₀ and a₁, each 0 … 255, so its extremes are 255 times the sum of
the positive and of the negative weights of the pair:

    -32,768 ≤ -255 · 128 = -32,640 ≤ a₀·w₀ + a₁·w₁ ≤ 255 · 128 = 32,640 ≤ 32,767

A limit of 129 would already be too much: 255 · 129 = 32,895. Two weights of different signs are
within the limit as they are, at most 127 each. ONNX Runtime and oneDNN pair the places 2k and
2k + 1; what adds up more products of a row does so in 32 bits. CPUs that multiply otherwise (VNNI,
NEON, WebAssembly) have no narrower sum: two signed bytes give at most 2 · 128 · 127 = 32,512.
"""


def quantize_full_range(
    weights: NDArray[np.float32], over: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers up to 127, and one scale for all weights along the axes `over`."""
    largest = np.abs(weights).max(axis=over, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale.squeeze(over)


def quantize_unsigned(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return weights (inputs, outputs) as bytes with `ZERO_POINT`, and each output's scale.

    The scale is that of the full range, or the smaller one, by up to 10 %, at which the sum of the
    squared errors is the smallest.
    """
    wide = weights.astype(np.float64)
    largest = np.abs(wide).max(0)
    full = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    best, least = full, np.full(full.shape, np.inf)
    for part in np.linspace(1, 0.9, 21, dtype=np.float32):
        scale = np.maximum(full * part, np.finfo(np.float32).tiny)
        rounded = np.clip(np.rint(wide / scale), -LARGEST, LARGEST) * scale.astype(np.float64)
        error = ((rounded - wide) ** 2).sum(0)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    integers = np.clip(np.rint(wide / best.astype(np.float64)), -LARGEST, LARGEST)
    return (integers + ZERO_POINT).astype(np.uint8), best


def quantize_pair_bounded(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights (inputs, outputs) as integers, and the scale of each output, (outputs,).

    The scale is the smallest at which no weight is above 127 and the sums of neighbours along the
    inputs, 2k and 2k + 1, are at most `PAIR_LIMIT`. It is at most that of 7 bits, twice the largest
    weight by 128, and smaller where the largest weights are not neighbours.
    """
    wide = weights.astype(np.float64)
    needed = np.maximum(max_pair_sums(wide) / PAIR_LIMIT, np.abs(wide).max(0) / LARGEST)
    # The next larger float32: the sums of pairs are below the limit, and within it when rounded.
    scale = np.nextafter(needed.astype(np.float32), np.float32(np.inf))
    scale = np.where(needed > 0, scale, np.float32(1)).astype(np.float32)
    return np.rint(weights / scale.astype(np.float64)).astype(np.int8), scale


def max_pair_sums(weights: NDArray[Any]) -> NDArray[Any]:
    """Return the largest sum of two neighbours of one sign for each output, (outputs,).

    Args:
        weights: (inputs, outputs), int8 or of a dtype that holds the sums.
    """
    wide = weights.astype(np.int64) if weights.dtype == np.int8 else weights
    if len(wide) % 2:
        wide = np.concatenate([wide, np.zeros_like(wide[:1])])
    pairs = wide.reshape(-1, 2, wide.shape[1])
    sums = np.maximum(np.maximum(pairs, 0).sum(1), np.maximum(-pairs, 0).sum(1))
    return np.asarray(sums.max(0, initial=0))
