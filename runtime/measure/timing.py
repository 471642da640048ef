"""Times of several calls, measured in rounds by turns."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clock", "Times", "measure"]

Clock = Literal["wall", "process"]
Call = Callable[[], Any]

_BLOCK_S = 0.01
_MOST_CALLS = 1000  # in one block


@dataclass(frozen=True)
class Times:
    """The times of one call.

    Attributes:
        samples: (rounds, calls) float64, seconds: the time of each call with the wall's clock; the
            mean of a block of calls, (rounds, 1), with the process's clock.
        warm_up: The seconds of the first call, which is not among the samples.
    """

    samples: NDArray[np.float64]
    warm_up: float = 0.0

    @property
    def median(self) -> float:
        """The median in seconds."""
        return self.percentile(50)

    @property
    def best(self) -> float:
        """The shortest time in seconds."""
        return float(self.samples.min())

    @property
    def rounds(self) -> NDArray[np.float64]:
        """(rounds,) float64: the median of each round in seconds."""
        return np.median(self.samples, axis=1)

    def percentile(self, percent: float) -> float:
        """Return the time in seconds that so many percent of all samples do not exceed."""
        return float(np.percentile(self.samples, percent))

    def ratio(self, other: Times) -> float:
        """Return how many times as long as `other` this takes: the median over common rounds."""
        rounds = min(len(self.samples), len(other.samples))
        return float(np.median(self.rounds[:rounds] / other.rounds[:rounds]))


def measure(
    calls: Mapping[str, Call],
    rounds: int = 20,
    *,
    clock: Clock = "wall",
    seconds: float | None = None,
    block: int | None = None,
    after_round: Callable[[int], Any] = lambda done: None,
) -> dict[str, Times]:
    """Measure calls by turns, so that what slows the machine down for a while slows all of them.

    After a warm-up, each round runs a block of every call, in the opposite order of the round
    before. Python's garbage collector waits meanwhile.

    Args:
        calls: Name → what to call.
        rounds: The number of rounds.
        clock: `wall` times each call by itself: what a user waits. `process` times blocks, in CPU
            time of all threads of this process, which does not count what other processes do.
        seconds: Start no further round after this time, warm-up included; the first round always
            runs.
        block: The number of calls in a block; None for about 10 ms of calls, at most 1,000.
        after_round: Is called after each round with the number of rounds so far.

    Returns:
        Name → its times.
    """
    if rounds < 1 or not calls:
        raise ValueError(f"nothing to measure: {rounds} rounds of {len(calls)} calls")
    began = time.perf_counter()
    first, blocks = {}, {}
    with _no_garbage_collection():
        for name, call in calls.items():
            first[name] = _wall_times(call, 1)[0]
            blocks[name] = block or _block_size(_warm_up(call))
        samples: dict[str, list[NDArray[np.float64]]] = {name: [] for name in calls}
        order = [*calls]
        for done in range(1, rounds + 1):
            for name in order:
                samples[name].append(_times(clock, calls[name], blocks[name]))
            order.reverse()
            after_round(done)
            if seconds is not None and time.perf_counter() - began >= seconds:
                break
    return {name: Times(np.stack(rows), first[name]) for name, rows in samples.items()}


def _times(clock: Clock, call: Call, count: int) -> NDArray[np.float64]:
    return _wall_times(call, count) if clock == "wall" else _process_times(call, count)


def _wall_times(call: Call, count: int) -> NDArray[np.float64]:
    """Return the time of each call in seconds."""
    now, marks = time.perf_counter_ns, [0] * (count + 1)
    marks[0] = now()
    for index in range(1, count + 1):
        call()
        marks[index] = now()
    return np.diff(np.array(marks)) * 1e-9


def _process_times(call: Call, count: int) -> NDArray[np.float64]:
    """Return the CPU time of one of `count` calls in seconds, (1,)."""
    began = time.process_time_ns()
    for _ in range(count):
        call()
    return np.array([(time.process_time_ns() - began) * 1e-9 / count])


def _warm_up(call: Call) -> float:
    """Call for about as long as a block; return the shortest time of a call in seconds."""
    began, best = time.perf_counter(), np.inf
    for _ in range(_MOST_CALLS):
        best = min(best, _wall_times(call, 1)[0])
        if time.perf_counter() - began >= _BLOCK_S:
            break
    return float(best)


def _block_size(call_s: float) -> int:
    return int(np.clip(_BLOCK_S / max(call_s, 1e-9), 1, _MOST_CALLS))


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
