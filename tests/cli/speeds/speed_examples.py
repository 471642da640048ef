"""Measurements that tests of tables and pictures share."""

from __future__ import annotations

import numpy as np

from edgernn.runtime.measure.speed import Bound, Cell, Speed
from edgernn.runtime.measure.timing import Times

__all__ = ["speed", "times"]


def times(median: float, p99: float | None = None) -> Times:
    """Return times with a median and, in 2 of 100 calls, a longer one."""
    return Times(np.array([[median] * 98 + [p99 or median] * 2]))


def speed(
    median: float = 1e-5,
    torch: float | None = None,
    limit: float = 1e-6,
    rate: float | None = None,
    cell: Cell | None = None,
) -> Speed:
    """Return a measurement of one cell."""
    eager = None if torch is None else times(torch)
    cell = cell or Cell("", "cpu", 1, 1)
    return Speed(cell, times(median, 3 * median), eager, Bound(limit, "cache"), rate)
