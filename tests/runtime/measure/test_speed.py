"""What a measurement says: rates, ratios, and the share of the machine's limit."""

import numpy as np

from edgernn.report import Cost
from edgernn.runtime.measure.limits import Limits
from edgernn.runtime.measure.speed import Bound, Cell, Speed, bound_of
from edgernn.runtime.measure.timing import Times

COST = Cost(parameters=0, multiply_adds=1000, weight_bytes=4000, state_bytes=50)
LIMITS = Limits(memory=1e6, weights=4e6, multiply_adds=1e7)


def test_the_limit_of_a_small_call_is_reading():
    """Weights are read once, states read and written; a cache may hold the weights."""
    assert bound_of(COST, LIMITS, batch=1, hops=1) == Bound(4100 / 4e6, "cache")
    slow = Limits(memory=1e6, weights=1e6, multiply_adds=1e7)
    assert bound_of(COST, slow, batch=1, hops=1) == Bound(4100 / 1e6, "memory")


def test_the_limit_of_a_large_call_is_multiplying():
    """Every step of every sequence has its multiply-adds."""
    assert bound_of(COST, LIMITS, batch=4, hops=5) == Bound(20 * 1000 / 1e7, "peak")


def test_rates_and_shares():
    """A call of 8 sequences of 10 steps in 2 ms, four times as fast as torch."""
    times, eager = Times(np.full((3, 2), 2e-3)), Times(np.full((3, 1), 8e-3))
    speed = Speed(Cell("int8", "cpu", 8, 10), times, eager, Bound(1e-3, "peak"), 16000, "step")
    assert (speed.steps_per_second, speed.real_time_factor) == (40000, 2.5)
    assert (speed.speedup, speed.share) == (4, 0.5)
    assert speed.to_json() == {
        "precision": "int8",
        "provider": "cpu",
        "batch": 8,
        "chunk": 10,
        "graph": "step",
        "median": 2e-3,
        "p99": 2e-3,
        "calls": 6,
        "steps_per_second": 40000,
        "real_time_factor": 2.5,
        "torch": {"median": 8e-3, "p99": 8e-3},
        "speedup": 4,
        "limit": {"seconds": 1e-3, "of": "peak", "share": 0.5},
    }


def test_what_is_not_known_is_none():
    """Without torch and without a sample rate there is no ratio."""
    speed = Speed(Cell("", "cpu", 1, 1), Times(np.ones((1, 1))), None, Bound(1, "peak"), None)
    assert (speed.real_time_factor, speed.speedup, speed.to_json()["torch"]) == (None, None, None)
