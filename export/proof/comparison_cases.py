"""The sizes at which graphs are compared with the model, and what the model returns there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.onnx_session import Arrays, failure_reason
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.export.proof.reference import RunResult

__all__ = ["LONGEST", "ComparisonCase", "ComparisonCases"]

LONGEST = 1000
"""The hops of the longest run, where the model takes so many."""

_SHORT_SIZES = ((1, 1), (2, 3), (3, 1), (1, 9), (4, 6), (2, 17), (5, 2), (3, 8))
"""Numbers of sequences and of hops at which every output has frames."""

_GOLDEN_HOPS = 8
_LONG_HOPS = (LONGEST, 500, 250, 125, 60, 30)


@dataclass(frozen=True)
class ComparisonCase:
    """One run of the model.

    Attributes:
        sizes: The size of every dynamic axis.
        data: Data by port name.
        expected: Outputs and final states of the model; empty before it has run.
        states: The states that it starts from; None for the initial ones, of which the model makes
            those that are not its arguments.
        hops_before: The number of hops that were run before it.
        from_graph: The outputs and states whose expected values are those of the sequence graph in
            one call, because the reference does not give them.
    """

    sizes: AxisSizes
    data: Arrays
    expected: RunResult = field(default_factory=lambda: RunResult({}, {}))
    states: Arrays | None = None
    hops_before: int = 0
    from_graph: Collection[str] = ()

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return self.sizes[BATCH]

    def start(self, sampler: InputSampler) -> Arrays:
        """Return the states that the run starts from."""
        return sampler.initial_states(self.batch) if self.states is None else self.states

    def by_port(self, contract: Contract) -> Arrays:
        """Return all arrays of a case with states by the names of the ports."""
        assert self.states is not None
        arrays = {**self.data, **self.expected.outputs}
        for state in contract.states:
            arrays[state.input] = self.states[state.name]
            arrays[state.output] = self.expected.states[state.name]
        return arrays


@dataclass(frozen=True)
class ComparisonCases:
    """Runs the model at the sizes at which graphs are compared with it.

    Attributes:
        sampler: The model, and what it is run on.
        constants: The constant sizes of `batch` and `sequence` in the graphs, if any.
        extra_sizes: Further sizes to run it at: name of an axis → its size.
        failures: Why the model failed at sizes that were tried.
    """

    sampler: InputSampler
    constants: Mapping[str, int] = field(default_factory=dict)
    extra_sizes: Sequence[Mapping[str, int]] = ()
    failures: list[str] = field(default_factory=list, init=False)

    def short_cases(self) -> list[ComparisonCase]:
        """Return runs at the traced sizes and up to eight others.

        Axes besides batch and sequence vary too, or are as traced where the model fails otherwise.

        Raises:
            UnsupportedModelError: The model returns no numbers at any of these.
        """
        traced, frames = self.sampler.traced_sizes, self.sampler.frames
        pairs = [(batch, frames.steps(hops)) for batch, hops in _SHORT_SIZES]
        pairs += [(batch, traced[SEQUENCE] + frames.hop * more) for batch, more in _SHORT_SIZES]
        choices = [(traced, traced)]
        choices += [(self._varied(*p, i), self.sampler.sizes_at(*p)) for i, p in enumerate(pairs)]
        cases: list[ComparisonCase] = []
        tried: set[frozenset[tuple[str, int]]] = set()
        for choice in choices:
            for sizes in map(self._allowed_sizes, choice):
                key = frozenset(sizes.items())
                case = None if key in tried else self.case_at(sizes)
                tried.add(key)
                if case is not None:
                    cases.append(case)
                    break
        if not cases:
            reason = self.failures[0] if self.failures else "its results are NaN"
            raise UnsupportedModelError(
                f"{self.sampler.reference.name} itself gives nothing to compare with at any size "
                f"that was tried: {reason}. Give example tensors of the kind that it was trained "
                "on, as a tuple of tensors in Python."
            )
        return cases[: len(_SHORT_SIZES) + 1]

    @property
    def boundary_sizes(self) -> list[Mapping[str, int]]:
        """The sizes at every bound and one inside it, and the extra ones."""
        contract = self.sampler.contract
        edges = [{axis: most - less} for axis, most in contract.most.items() for less in (0, 1)]
        edges += [{axis: least + more} for axis, least in contract.least.items() for more in (0, 1)]
        return [*edges, *self.extra_sizes]

    def boundary_cases(self) -> Iterator[ComparisonCase]:
        """Yield runs at the boundary sizes."""
        for sizes in self.boundary_sizes:
            case = self.case_at(self._allowed_sizes({**self.sampler.sizes_at(2, 3), **sizes}))
            if case is not None:
                yield case

    @property
    def has_long_cases(self) -> bool:
        """Whether the model takes any number of steps."""
        return self._is_dynamic(SEQUENCE)

    def long_cases(self) -> Iterator[ComparisonCase]:
        """Yield one sequence of 1,000 steps, then shorter ones; the model has not run on them."""
        counts = dict.fromkeys(map(self.allowed_steps, _LONG_HOPS))
        for steps in counts if self.has_long_cases else ():
            sizes = self.sampler.sizes_at(self.allowed_batch(1), steps)
            yield ComparisonCase(sizes, self.sampler.draw_data(sizes))

    def case_at(self, sizes: AxisSizes, short: Collection[str] = ()) -> ComparisonCase | None:
        """Run the model; return None where it fails or where an output would have a negative size.

        Sequences in the inputs of lengths in `short` all end before the last step.
        """
        ports = self.sampler.contract.data_outputs("sequence")
        if any(size < 0 for port in ports for size in evaluate_shape(port.shape, sizes) or ()):
            return None  # such as windows of more steps than there are
        data = self.sampler.draw_data(sizes, uneven=True, short=short)
        return self.with_expected(ComparisonCase(sizes, data))

    def golden_case(self, steps: int) -> ComparisonCase:
        """Return a short run with which any host can check itself, from states that can occur.

        Args:
            steps: The constant number of steps. 0 for eight hops, or for the traced number of steps
                where the model does not take eight hops.

        Raises:
            UnsupportedModelError: The results of the model are not finite at any of these.
        """
        sampler, batch = self.sampler, self.allowed_batch(2)
        reason = "its results are NaN"
        few = self._within(sampler.frames.steps(_GOLDEN_HOPS))
        traced = sampler.frames.whole_hops(sampler.traced_sizes[SEQUENCE])
        for length in (steps,) if steps else (few, traced):
            sizes = sampler.sizes_at(batch, length)
            for is_drawn in (True, True, False):
                try:
                    data = sampler.draw_data(sizes)
                    states = (
                        sampler.draw_states(batch, length)
                        if is_drawn
                        else sampler.initial_states(batch)
                    )
                    expected = sampler.run_reference(data, states)
                except Exception as error:
                    reason = failure_reason(error)
                    continue
                arrays = [array for part in expected for array in part.values()]
                if all(np.isfinite(array).all() for array in arrays):
                    return ComparisonCase(sizes, data, expected, states)
                if not any(np.isnan(array).any() for array in arrays):
                    reason = "its results are infinite; mask with a finite number, such as -1e9"
        raise UnsupportedModelError(
            f"No run of {sampler.reference.name} could be recorded for hosts to compare with: "
            f"{reason}. Give example tensors of the kind that it was trained on."
        )

    def with_expected(self, case: ComparisonCase) -> ComparisonCase | None:
        """Run the model on a case; return None where it fails or returns NaN."""
        try:
            expected = self.sampler.run_reference(case.data, None)
        except Exception as error:
            self.failures.append(failure_reason(error))
            return None
        if any(np.isnan(array).any() for arrays in expected for array in arrays.values()):
            return None  # such as a norm over a single step
        return replace(case, expected=expected)

    def allowed_steps(self, hops: int, stepwise: bool = False) -> int:
        """Return the number of steps nearest to `hops` hops that calls of a graph can take.

        Every output has the frames of so many hops. Where a call of the sequence graph takes a
        constant number of steps, the result is a multiple of it, unless `stepwise`.
        """
        size, steps = self.constants.get(SEQUENCE), self.sampler.frames.steps(hops)
        if size is None or stepwise:
            return self._within(steps)
        calls = max(2, -(-steps // size))
        most = self.sampler.contract.most.get(SEQUENCE, calls * size)
        return min(calls, most // size) * size

    def call_steps(self, steps: int) -> int:
        """Return the number of steps nearest to `steps` that one call takes."""
        if not self._is_dynamic(SEQUENCE):
            return self.sampler.traced_sizes[SEQUENCE]
        return self.constants.get(SEQUENCE, self._within(steps))

    def allowed_batch(self, batch: int) -> int:
        """Return the batch nearest to `batch` that the graphs take."""
        if not self._is_dynamic(BATCH):
            return self.sampler.traced_sizes[BATCH]
        return self.constants.get(BATCH, self.sampler.contract.within(BATCH, batch))

    def _within(self, steps: int) -> int:
        """Return the number of steps in whole hops that is nearest to `steps` and within bounds."""
        bounded = self.sampler.contract.within(SEQUENCE, steps)
        return self.sampler.frames.whole_hops(bounded)

    def _allowed_sizes(self, sizes: AxisSizes) -> AxisSizes:
        """Return sizes that the graphs take: constants, and others within their bounds."""
        bounded = {axis: self.sampler.contract.within(axis, size) for axis, size in sizes.items()}
        steps = self.call_steps(sizes[SEQUENCE])
        return {**bounded, SEQUENCE: steps, BATCH: self.allowed_batch(bounded[BATCH])}

    def _varied(self, batch: int, sequence: int, index: int) -> AxisSizes:
        """Return sizes whose axes besides batch and sequence are not as they were traced."""
        return {
            axis: size
            if axis in (BATCH, SEQUENCE)
            else (size + 1, size + 4, max(1, size - 1), 2 * size + 1)[index % 4]
            for axis, size in self.sampler.sizes_at(batch, sequence).items()
        }

    def _is_dynamic(self, axis: str) -> bool:
        """Return whether the model takes any size of an axis, even if the graphs take one only."""
        graph = self.sampler.contract.graphs["sequence"]
        return any(axis in str(size) for port in graph.inputs for size in port.shape)
