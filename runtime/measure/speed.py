"""The speed of a model at one size: its time, beside eager torch's and the machine's limit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgernn.report import Cost
from edgernn.runtime.measure.limits import Limits
from edgernn.runtime.measure.timing import Times

__all__ = ["Bound", "Cell", "Speed", "bound_of"]


@dataclass(frozen=True)
class Cell:
    """What is measured.

    Attributes:
        precision: The number format of the weights; empty for that of the artifact.
        provider: Where the model runs.
        batch: The number of sequences.
        chunk: The number of steps that one call runs.
    """

    precision: str
    provider: str
    batch: int
    chunk: int


@dataclass(frozen=True)
class Bound:
    """The least time that a call can take.

    Attributes:
        seconds: The time.
        of: What is at its limit then: reading the weights from `memory` or `cache`, or the `peak`
            of a product of matrices.
    """

    seconds: float
    of: Literal["memory", "cache", "peak"]


def bound_of(cost: Cost, limits: Limits, batch: int, hops: int) -> Bound:
    """Return the least time of a call: all weights are read once, all states read and written.

    Args:
        cost: What one step, or hop, of one sequence costs.
        limits: What the machine can do.
        batch: The number of sequences.
        hops: The number of steps, or hops, that one call runs.
    """
    reading = (cost.weight_bytes + 2 * batch * cost.state_bytes) / limits.weights
    multiplying = batch * hops * cost.multiply_adds / limits.multiply_adds
    if multiplying > reading:
        return Bound(multiplying, "peak")
    return Bound(reading, "cache" if limits.is_cached else "memory")


@dataclass(frozen=True)
class Speed:
    """What was measured in one cell.

    Attributes:
        cell: The cell.
        times: The times of the artifact.
        eager: Those of eager torch, measured by turns with it; None where there are none.
        bound: The least time of a call.
        sample_rate: The steps of the input in a second, or None where that is not known.
        graph: The graph that ran: `step`, `sequence`, or the name of a form of one.
    """

    cell: Cell
    times: Times
    eager: Times | None
    bound: Bound
    sample_rate: float | None
    graph: str = ""

    @property
    def steps_per_second(self) -> float:
        """The steps of all sequences per second."""
        return self.cell.batch * self.cell.chunk / self.times.median

    @property
    def real_time_factor(self) -> float | None:
        """The seconds of input of all sequences that one second computes."""
        return None if self.sample_rate is None else self.steps_per_second / self.sample_rate

    @property
    def speedup(self) -> float | None:
        """How many times as fast as eager torch it is."""
        return None if self.eager is None else self.eager.ratio(self.times)

    @property
    def share(self) -> float:
        """The share of the limit that it reaches: 1 where a call takes the least time."""
        return self.bound.seconds / self.times.median

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as a JSON object; times are in seconds of one call."""
        return {
            **asdict(self.cell),
            "graph": self.graph,
            "median": self.times.median,
            "p99": self.times.percentile(99),
            "calls": self.times.samples.size,
            "steps_per_second": self.steps_per_second,
            "real_time_factor": self.real_time_factor,
            "torch": None
            if self.eager is None
            else {"median": self.eager.median, "p99": self.eager.percentile(99)},
            "speedup": self.speedup,
            "limit": {**asdict(self.bound), "share": self.share},
        }
