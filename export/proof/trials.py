"""The sizes at which graphs are proven: those that the model takes and has numbers for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.proof.graph_runs import Arrays
from edgernn.export.proof.samples import Samples, Sizes

__all__ = ["LONGEST", "Trial", "Trials"]

LONGEST = 1000
"""Over how many steps every graph is proven, where the model takes so many."""

_SIZES = ((1, 1), (2, 3), (3, 1), (1, 9), (4, 6), (2, 17), (5, 2), (3, 8))
_LONG = (LONGEST, 500, 250, 125, 60, 30)


@dataclass(frozen=True)
class Trial:
    """One run of the model from its initial state.

    Attributes:
        sizes: The size of every dynamic axis.
        data: Data by port name.
        expected: Outputs and final states of the model; none before it has run.
    """

    sizes: Sizes
    data: Arrays
    expected: tuple[Arrays, Arrays] = field(default_factory=lambda: ({}, {}))

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return self.sizes[BATCH]


@dataclass(frozen=True)
class Trials:
    """Runs the model at sizes at which graphs are compared with it.

    Attributes:
        samples: What it is run on.
        constants: The sizes of `batch` and `sequence` where the graphs take one only.
        apart: Further sizes to run it at: name of an axis → its size.
        failures: Why the model failed at sizes that were tried.
    """

    samples: Samples
    constants: Mapping[str, int] = field(default_factory=dict)
    apart: Sequence[Mapping[str, int]] = ()
    failures: list[str] = field(default_factory=list, init=False)

    def short(self) -> list[Trial]:
        """Return runs at the traced sizes and up to eight others, further axes varied as well.

        Raises:
            UnsupportedModelError: The model has numbers at none of these.
        """
        traced = self.samples.traced
        steps = traced[SEQUENCE]
        pairs = [*_SIZES, *((batch, steps + more) for batch, more in _SIZES)]
        wanted = [traced, *(self._at(*pair, place) for place, pair in enumerate(pairs))]
        plain = [self.samples.at(*pair) for pair in pairs]
        found: list[Trial] = []
        done: set[tuple[tuple[str, int], ...]] = set()
        for sizes, instead in zip(wanted, [traced, *plain], strict=True):
            for one in map(self._within, (sizes, instead)):
                key = tuple(sorted(one.items()))
                trial = None if key in done else self.run(one)
                done.add(key)
                if trial is not None:
                    found.append(trial)
                    break
        if not found:
            reason = self.failures[0] if self.failures else "its results are NaN"
            raise UnsupportedModelError(
                f"{self.samples.reference.name} itself gives nothing to compare with at any size "
                f"that was tried: {reason}. Give example tensors of the kind that it was trained "
                "on, as a tuple of tensors in Python."
            )
        return found[: len(_SIZES) + 1]

    def bounds(self) -> Iterator[Trial]:
        """Yield runs at the bounds of every axis that has one, within them, and at `apart`."""
        contract = self.samples.contract
        edges = [{axis: most - less} for axis, most in contract.most.items() for less in (0, 1)]
        edges += [{axis: least + more} for axis, least in contract.least.items() for more in (0, 1)]
        for sizes in (*edges, *self.apart):
            within = self._within({**self.samples.at(2, 3), **sizes})
            trial = self.run(within)
            if trial is not None:
                yield trial

    def long(self) -> Iterator[Trial]:
        """Yield one sequence of 1,000 steps, then of fewer and fewer, which are still to be run."""
        steps = dict.fromkeys(map(self.steps, _LONG)) if self._takes(SEQUENCE) else ()
        for count in steps:
            sizes = self.samples.at(self.batch(1), count)
            yield Trial(sizes, self.samples.data(sizes))

    def steps(self, steps: int) -> int:
        """Return the number of steps next to `steps` that calls of the sequence graph make up."""
        size = self.constants.get(SEQUENCE)
        if size is None:
            return self.samples.contract.within(SEQUENCE, steps)
        calls = max(2, -(-steps // size))
        most = self.samples.contract.most.get(SEQUENCE, calls * size)
        return min(calls, most // size) * size

    def completed(self, trial: Trial) -> Trial | None:
        """Run the model; None where it fails or has no numbers."""
        try:
            outputs, states = self.samples.run(trial.data, None)
        except Exception as error:
            self.failures.append(str(error).strip().partition("\n")[0].rstrip("."))
            return None
        if any(np.isnan(array).any() for array in (*outputs.values(), *states.values())):
            return None  # such as a norm over a single step
        return replace(trial, expected=(outputs, states))

    def _at(self, batch: int, sequence: int, place: int) -> Sizes:
        """Return sizes with every further axis at another size than the traced one."""
        sizes = dict(self.samples.at(batch, sequence))
        for axis, size in sizes.items():
            if axis not in (BATCH, SEQUENCE):
                sizes[axis] = (size + 1, size + 4, max(1, size - 1), 2 * size + 1)[place % 4]
        return sizes

    def _within(self, sizes: Sizes) -> Sizes:
        """Return sizes that the graphs take: constant ones as they are, others within bounds."""
        bounded = {axis: self.samples.contract.within(axis, size) for axis, size in sizes.items()}
        steps = self.constants.get(SEQUENCE, bounded[SEQUENCE])
        bounded[SEQUENCE] = steps if self._takes(SEQUENCE) else self.samples.traced[SEQUENCE]
        return {**bounded, BATCH: self.batch(bounded[BATCH])}

    def batch(self, batch: int) -> int:
        """Return `batch` within its bounds, or the constant one."""
        if not self._takes(BATCH):
            return self.samples.traced[BATCH]
        return self.constants.get(BATCH, self.samples.contract.within(BATCH, batch))

    def _takes(self, axis: str) -> bool:
        """Return whether the graphs take any size of an axis, or could before it was fixed."""
        graph = self.samples.contract.graphs["sequence"]
        return any(axis in str(size) for port in graph.inputs for size in port.shape)

    def run(self, sizes: Sizes, short: Collection[str] = ()) -> Trial | None:
        """Run the model; None where it fails, has no numbers or an output of less than none.

        Args:
            sizes: The size of every dynamic axis.
            short: Inputs of lengths that all end before the last step.
        """
        if self._less_than_none(sizes):
            return None  # such as windows of more steps than there are
        return self.completed(Trial(sizes, self.samples.data(sizes, uneven=True, short=short)))

    def _less_than_none(self, sizes: Sizes) -> bool:
        ports = self.samples.contract.data_outputs("sequence")
        declared = [evaluate_shape(port.shape, sizes) or () for port in ports]
        return any(size < 0 for shape in declared for size in shape)
