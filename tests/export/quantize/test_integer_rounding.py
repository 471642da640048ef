"""float32 weights as integers and scales."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.export.quantize.integer_rounding import (
    PAIR_LIMIT,
    max_pair_sums,
    quantize_full_range,
    quantize_pair_bounded,
)

DRAWN = {
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "normal": lambda rng, shape: rng.standard_normal(shape) * 1e-3,
    "heavy": lambda rng, shape: rng.standard_t(1.5, shape),
    "positive": lambda rng, shape: rng.uniform(0.9, 1, shape),
    "equal": lambda rng, shape: np.full(shape, -0.37),
    "halves": lambda rng, shape: rng.integers(-127, 128, shape) / 2,
    "tiny": lambda rng, shape: rng.standard_normal(shape) * 1e-42,
    "huge": lambda rng, shape: rng.uniform(-3e38, 3e38, shape),
}


@pytest.mark.parametrize("shape", [(1, 5), (2, 300), (7, 64), (256, 96)])
@pytest.mark.parametrize("kind", DRAWN)
def test_weights_are_bounded(kind: str, shape: tuple[int, int]) -> None:
    """No pair of any weights is beyond the limit, and all are their integers to half a step."""
    weights = DRAWN[kind](np.random.default_rng(0), shape).astype(np.float32)
    numbers, scale = quantize_pair_bounded(weights)
    assert max_pair_sums(numbers).max() <= PAIR_LIMIT
    assert np.abs(numbers.astype(int)).max() <= 127
    error = np.abs(numbers * scale.astype(np.float64) - weights)
    assert (error <= 0.5001 * scale + 2e-45).all()
    seven_bits = np.abs(weights.astype(np.float64)).max(0) / (PAIR_LIMIT / 2)
    assert (scale <= seven_bits * (1 + 1e-6) + 2e-45).all()


def test_the_full_range_is_used() -> None:
    """The largest weight along the axes is 127 scales, and zeros have the scale 1."""
    weights = np.array([[0.5, -1.0], [0.0, 0.0]], np.float32)
    integers, scale = quantize_full_range(weights, (1,))
    np.testing.assert_array_equal(integers, [[64, -127], [0, 0]])
    np.testing.assert_allclose(scale, [1 / 127, 1])
