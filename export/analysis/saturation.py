"""How near products of 8-bit integers come to what some CPUs saturate at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAIR_LIMIT", "pair_sums"]

PAIR_LIMIT = 128
"""The most that two neighbouring weights of one sign may come to together.

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


def pair_sums(weights: NDArray[Any]) -> NDArray[Any]:
    """Return what two neighbours of one sign come to at most, for each output, (outputs,).

    Args:
        weights: (inputs, outputs), of any dtype that holds the sums, or int8.
    """
    wide = weights.astype(np.int64) if weights.dtype == np.int8 else weights
    if len(wide) % 2:
        wide = np.concatenate([wide, np.zeros_like(wide[:1])])
    pairs = wide.reshape(-1, 2, wide.shape[1])
    sums = np.maximum(np.maximum(pairs, 0).sum(1), np.maximum(-pairs, 0).sum(1))
    return np.asarray(sums.max(0, initial=0))
