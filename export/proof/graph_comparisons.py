"""Comparisons of one graph with the model, each a check that passes or an error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import SEQUENCE
from edgernn.errors import ParityError
from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.proof.calls_in_row import CallsInRow, call_plan
from edgernn.export.proof.chunked_comparison import compare_chunks, random_lengths
from edgernn.export.proof.comparison_cases import ComparisonCase, ComparisonCases
from edgernn.export.proof.continued_runs import complete_states, continued_cases
from edgernn.export.proof.difference import Comparison, compare
from edgernn.export.proof.graph_function import GraphFunction, feature_ports
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.export.proof.reference import RunResult
from edgernn.export.proof.stream_end import compare_end, end_steps
from edgernn.export.proof.verdict import Verdict, format_sizes
from edgernn.report import Check

__all__ = ["GraphComparisons"]

_CHUNKED = ((1, 1), (2, 7), (3, 5))


@dataclass(frozen=True)
class GraphComparisons:
    """Compares one graph at a time with the model. A difference raises ParityError.

    Attributes:
        cases: Runs of the model, and the sizes at which it is compared.
        tolerance: The largest difference that passes.
        in_row: The model called again and again, where it keeps memory from call to call.
    """

    cases: ComparisonCases
    tolerance: float
    in_row: CallsInRow | None = None

    @property
    def _sampler(self) -> InputSampler:
        return self.cases.sampler

    @property
    def _verdict(self) -> Verdict:
        return Verdict(self._sampler, self.tolerance)

    def longest(self, run: GraphFunction | None) -> tuple[ComparisonCase | None, Check | None]:
        """Run as many steps as the model takes, up to 1,000; compare `run` with it, if given.

        The graph runs first: its memory and the model's results are both large, and must not exist
        at the same time.
        """
        for case in self.cases.long_cases():
            got, failure = None, None
            try:
                got = None if run is None else run(case.data, case.start(self._sampler))
            except ParityError as error:
                failure = error
            complete = self.cases.with_expected(case)
            if complete is None:
                continue
            if failure is not None:
                raise failure
            return complete, None if got is None else self._check_whole(got, complete)
        return None, None

    def from_drawn_states(self, case: ComparisonCase) -> ComparisonCase:
        """Return a case on the same data from states that the model can be in."""
        states = self._sampler.draw_states(case.batch, case.sizes[SEQUENCE])
        expected = self._sampler.run_reference(case.data, states)
        return replace(case, states=states, expected=expected)

    def whole(self, run: GraphFunction, case: ComparisonCase) -> Check:
        """Compare a whole run of the sequence graph, its shapes too."""
        return self._check_whole(run(case.data, case.start(self._sampler)), case)

    def _check_whole(self, got: RunResult, case: ComparisonCase) -> Check:
        self._compare_shapes(got.outputs, case.sizes)
        return self._verdict.check("whole", "sequence", case, self._compared(got, case))

    def _compared(self, got: RunResult, case: ComparisonCase) -> Comparison:
        """Compare a whole run of a graph with a case, without undefined frames."""
        outputs = self._sampler.frames.of_graph(got.outputs, case.hops_before)
        got = RunResult(outputs, got.states)
        return compare(got, case.expected, feature_ports(self._sampler.contract))

    def chunks(self, name: str, kind: str, run: GraphFunction, case: ComparisonCase) -> Check:
        """Compare a run in chunks, each from the state of the one before, with a whole run."""
        hop, steps = self._sampler.contract.hop, case.sizes[SEQUENCE]
        size = hop if kind == "step" else self.cases.constants.get(SEQUENCE)  # None for any number
        rng = self._sampler.rng
        lengths = [size] * (steps // size) if size else random_lengths(rng, steps, hop)
        comparison = compare_chunks(self._sampler, run, case, lengths, kind == "step")
        return self._verdict.check(name, kind, case, comparison)

    @property
    def chunked_sizes(self) -> list[tuple[int, int]]:
        """The numbers of sequences and of hops of the short runs in chunks."""
        return [*dict.fromkeys((self.cases.allowed_batch(b), hops) for b, hops in _CHUNKED)]

    def chunked_cases(self, kind: str, whole: GraphFunction | None) -> Iterator[ComparisonCase]:
        """Yield runs of a few hops, from states that the model and the graphs can be in."""
        sizes = [
            self._sampler.sizes_at(batch, self.cases.allowed_steps(hops, kind == "step"))
            for batch, hops in self.chunked_sizes
        ]
        for one in sizes:
            case = self.from_drawn_states(ComparisonCase(one, self._sampler.draw_data(one)))
            yield self.completed(case, whole)
        if self._sampler.contexts and whole is not None and SEQUENCE not in self.cases.constants:
            yield from continued_cases(self._sampler, whole, sizes)

    @property
    def has_end(self) -> bool:
        """Whether padding after the end gives the last frames, in calls of any number of steps."""
        contexts, padding = self._sampler.contexts, self._sampler.contract.padding
        return bool(contexts and padding) and SEQUENCE not in self.cases.constants

    def ends(self, run: GraphFunction) -> Iterator[Check]:
        """Compare the last frames too, by the padding that gives them."""
        for batch, hops in self.chunked_sizes:
            steps = self.cases.allowed_steps(hops)
            if steps + end_steps(self._sampler) > self._sampler.contract.most.get(
                SEQUENCE, math.inf
            ):
                continue
            sizes = self._sampler.sizes_at(batch, steps)
            case = self.from_drawn_states(ComparisonCase(sizes, self._sampler.draw_data(sizes)))
            comparison = compare_end(self._sampler, run, case)
            yield self._verdict.check("end", "sequence", case, comparison)

    def golden(
        self,
        kind: str,
        run: GraphFunction,
        whole: GraphFunction | None,
        recorded: ComparisonCase,
    ) -> Check:
        """Compare the golden run, with which hosts will check themselves."""
        case = self.completed(recorded, whole)
        steps = case.sizes[SEQUENCE]
        if kind == "step" or self.cases.constants.get(SEQUENCE, steps) != steps:
            return self.chunks("golden", kind, run, case)
        comparison = self._compared(run(case.data, case.start(self._sampler)), case)
        return self._verdict.check("golden", kind, case, comparison)

    def calls(self, kind: str, run: GraphFunction) -> Iterator[Check]:
        """Compare calls in a row with those of a model that keeps memory from call to call."""
        if self.in_row is None or not self.is_called(kind):
            return
        for batch, lengths in call_plan(kind, self.cases):
            comparison, rounding = self.in_row.compare(kind, run, batch, lengths)
            sizes = self._sampler.sizes_at(batch, sum(lengths))
            yield self._verdict.check(
                "calls", kind, ComparisonCase(sizes, {}), comparison, rounding
            )

    def is_called(self, kind: str) -> bool:
        """Return whether a call of a graph is compared with a call of the model itself.

        A step of a graph with contexts is not: to the model, a call is a whole sequence.
        """
        return self.in_row is not None and not (kind == "step" and self._sampler.contexts)

    def completed(self, case: ComparisonCase, whole: GraphFunction | None) -> ComparisonCase:
        """Return a case with the final states that only the sequence graph has."""
        return complete_states(self._sampler, whole, case, self.cases.constants.get(SEQUENCE))

    def _compare_shapes(self, outputs: Arrays, sizes: AxisSizes) -> None:
        for port in self._sampler.contract.data_outputs("sequence"):
            declared, shape = evaluate_shape(port.shape, sizes), outputs[port.name].shape
            if declared is not None and shape != declared:
                raise ParityError(
                    f"`{port}` came out as {shape} at {format_sizes(sizes)}, where "
                    f"{declared} was declared. Where forward squeezes or flattens, let it name the "
                    "axis."
                )
