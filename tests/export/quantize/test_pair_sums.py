"""How near products of integers come to saturation."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.export.quantize.integer_rounding import PAIR_LIMIT, max_pair_sums
from tests.export.saturating import saturated

BYTE = np.arange(-127, 128)
PAIRS = np.stack(np.meshgrid(BYTE, BYTE), -1).reshape(-1, 2).T  # (2, pairs): every one there is
CORNERS = np.array([[0, 0], [0, 255], [255, 0], [255, 255]], np.uint8)


def test_no_pair_within_the_limit_saturates() -> None:
    """All pairs of weights within the limit are exact at the extremes of both activations."""
    within = PAIRS[:, max_pair_sums(PAIRS) <= PAIR_LIMIT]
    assert within.shape[1] > 48_000
    np.testing.assert_array_equal(saturated(CORNERS, within), CORNERS.astype(int) @ within)


def test_every_pair_beyond_the_limit_saturates() -> None:
    """One more than the limit is too much already, for either sign."""
    beyond = PAIRS[:, max_pair_sums(PAIRS) > PAIR_LIMIT]
    assert max_pair_sums(beyond).min() == PAIR_LIMIT + 1
    saturates = (saturated(CORNERS, beyond) != CORNERS.astype(int) @ beyond).any(0)
    assert saturates.all()


@pytest.mark.parametrize("pair", [(64, 64), (-64, -64), (127, 1), (-1, -127), (127, -127)])
def test_nothing_between_the_extremes_is_worse(pair: tuple[int, int]) -> None:
    """Pairs at the limit are exact at all 65,536 activations."""
    weights = np.array(pair)[:, None]
    every = np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1).reshape(-1, 2)
    np.testing.assert_array_equal(saturated(every, weights), every @ weights)


def test_pairs_are_neighbours_and_a_last_one_is_alone() -> None:
    """Inputs 2k and 2k + 1 are added, per output; an odd one has no neighbour."""
    weights = np.array([[100, -5], [20, 7], [90, -9], [-10, -8], [99, 3]], np.int8)
    assert max_pair_sums(weights).tolist() == [120, 17]
    assert max_pair_sums(weights[:0]).tolist() == [0, 0]
