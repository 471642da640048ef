"""Times of calls: which calls run, in what order, and what is counted."""

import gc
import time

import numpy as np
import pytest

from edgernn.runtime.measure.timing import Times, measure


def test_each_round_runs_a_block_of_every_call_in_the_opposite_order():
    """What slows the machine down for a while slows all calls down."""
    ran: list[str] = []
    rounds = 3
    measure({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, rounds, block=2)
    assert "".join(ran[-12:]) == "aabb" + "bbaa" + "aabb"


def test_each_call_is_timed_by_itself_on_the_wall_clock():
    """A call that sleeps takes at least as long on the wall's clock, and next to no CPU time."""
    calls = {"sleep": lambda: time.sleep(0.002)}
    wall = measure(calls, 2, block=3)["sleep"]
    process = measure(calls, 2, block=3, clock="process")["sleep"]
    assert wall.samples.shape == (2, 3)
    assert process.samples.shape == (2, 1)
    assert wall.best >= 0.002
    assert process.median < 0.002


def test_a_limit_of_seconds_ends_after_the_round_that_exceeds_it():
    """The first round always runs, and each round is reported."""
    done: list[int] = []
    times = measure(
        {"sleep": lambda: time.sleep(0.01)}, 1000, seconds=0.03, block=1, after_round=done.append
    )["sleep"]
    assert 1 <= len(times.samples) <= 3
    assert done == [*range(1, len(times.samples) + 1)]


def test_a_block_of_short_calls_takes_about_ten_milliseconds():
    """Long calls run once in a block."""
    times = measure({"long": lambda: time.sleep(0.02), "short": lambda: time.sleep(0.001)}, 1)
    assert times["long"].samples.shape == (1, 1)
    assert 2 <= times["short"].samples.shape[1] <= 10


def test_the_garbage_collector_runs_again_after_an_interrupt():
    """It waits while calls are measured."""
    seen: list[bool] = []

    def interrupt():
        seen.append(gc.isenabled())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({"a": interrupt})
    assert seen == [False]
    assert gc.isenabled()


def test_medians_percentiles_and_ratios():
    """A ratio is the median over rounds, so that a slow round counts once."""
    one = Times(np.array([[1.0, 3.0, 2.0], [10.0, 30.0, 20.0]]))
    other = Times(np.array([[1.0, 1.0, 1.0], [20.0, 20.0, 20.0]]))
    assert (one.median, one.best, one.percentile(100)) == (6.5, 1.0, 30.0)
    assert one.rounds.tolist() == [2.0, 20.0]
    assert one.ratio(other) == 1.5


def test_nothing_to_measure():
    """No calls or no rounds are a programmer's error."""
    with pytest.raises(ValueError, match=r"^nothing to measure: 0 rounds of 1 calls$"):
        measure({"a": int}, 0)
    with pytest.raises(ValueError, match=r"^nothing to measure: 20 rounds of 0 calls$"):
        measure({})
