"""float32 weights as int8 and a scale: weights ≈ integers · scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgernn.export.analysis.saturation import PAIR_LIMIT, pair_sums

__all__ = ["LARGEST", "quantize_full_range", "quantize_pair_bounded"]

LARGEST = 127
"""The largest integer of a weight."""


def quantize_full_range(
    weights: NDArray[np.float32], over: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers up to 127, and one scale for all weights along the axes `over`."""
    largest = np.abs(weights).max(axis=over, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale.squeeze(over)


def quantize_pair_bounded(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights (inputs, outputs) as integers, and the scale of each output, (outputs,).

    The scale is the smallest at which no weight is above 127 and the sums of neighbours along the
    inputs, 2k and 2k + 1, are at most `PAIR_LIMIT`. It is at most that of 7 bits, twice the largest
    weight by 128, and smaller where the largest weights are not neighbours.
    """
    wide = weights.astype(np.float64)
    needed = np.maximum(pair_sums(wide) / PAIR_LIMIT, np.abs(wide).max(0) / LARGEST)
    # The next larger float32: the sums of pairs are below the limit, and within it when rounded.
    scale = np.nextafter(needed.astype(np.float32), np.float32(np.inf))
    scale = np.where(needed > 0, scale, np.float32(1)).astype(np.float32)
    return np.rint(weights / scale.astype(np.float64)).astype(np.int8), scale
