"""The gate: exported graphs in ONNX Runtime against the user's own model.

Outputs and final states are compared

1. of whole sequences: up to a thousand steps, at both sides of every bound, from the initial state
   and from others that the model can be in;
2. of runs step by step, and in chunks of random lengths;
3. where the last frames come from padding, of runs that are fed it after the end;
4. of the golden run;
5. where the model keeps memory from call to call, of calls in a row, with the model called so.

At most one of the sizes is the traced one. Shapes must be as declared, NaN agrees with nothing, and
a comparison of nothing is a failure.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError, ParityError
from edgernn.export.ir.onnx_session import Arrays, failure_reason
from edgernn.export.proof.calls_in_row import ROWS, CallsInRow, call_plan
from edgernn.export.proof.chunked_comparison import compare_chunks, random_lengths
from edgernn.export.proof.comparison_cases import LONGEST, ComparisonCase, ComparisonCases
from edgernn.export.proof.continued_runs import complete_states, continued_cases
from edgernn.export.proof.difference import Comparison, compare
from edgernn.export.proof.differing_layer import find_differing_layer
from edgernn.export.proof.eager_reference import one_thread
from edgernn.export.proof.graph_function import GraphFunction, feature_ports, graph_function
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.export.proof.integer_products import check_integers
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.export.proof.reference import Reference, RunResult
from edgernn.export.proof.stream_end import compare_end, end_steps
from edgernn.export.proof.verdict import DisagreementError, Verdict, format_sizes
from edgernn.report import Check, ParityReport
from edgernn.tolerances import TOLERANCE

__all__ = ["Prover"]

_LOG = logging.getLogger("edgernn.export")

_CHUNKED = ((1, 1), (2, 7), (3, 5))


@dataclass(frozen=True)
class Prover:
    """Compares graphs with a reference.

    Attributes:
        sampler: The reference and what it is run on. Its contract is that of the graphs in torch's
            ports, and always has a sequence graph.
        tolerance: The largest difference that passes.
        constants: The constant sizes of `batch` and `sequence` in the graphs, if any.
        extra_sizes: Further sizes at which whole runs are compared: name of an axis → its size.
        in_row: The model called again and again, where it keeps memory from call to call.
    """

    sampler: InputSampler
    tolerance: float = TOLERANCE
    constants: Mapping[str, int] = field(default_factory=dict)
    extra_sizes: Sequence[Mapping[str, int]] = ()
    in_row: CallsInRow | None = None

    @property
    def contract(self) -> Contract:
        """The contract of the graphs in torch's ports."""
        return self.sampler.contract

    @property
    def reference(self) -> Reference:
        """What the graphs are compared with."""
        return self.sampler.reference

    @property
    def _verdict(self) -> Verdict:
        return Verdict(self.sampler, self.tolerance)

    @functools.cached_property
    def _cases(self) -> ComparisonCases:
        return ComparisonCases(self.sampler, self.constants, self.extra_sizes)

    def report(self, graphs: Mapping[str, str], adapter: PortAdapter) -> ParityReport:
        """Run every check.

        Args:
            graphs: `sequence` and, where there is one, `step` → the file.
            adapter: From the reference's ports to those of the graphs.

        Raises:
            ParityError: A difference is above the tolerance or a shape is not the declared one.
            UnsupportedModelError: The reference gives nothing to compare with.
        """
        for kind, graph in graphs.items():
            check_integers(kind, graph)
        functions = {
            kind: adapter.adapt(graph_function(kind, adapter.exported, graph))
            for kind, graph in graphs.items()
        }
        with one_thread():
            try:
                checks = tuple(self._run_checks(functions))
            except DisagreementError as error:
                if error.whole is None:
                    raise ParityError(str(error)) from None
                layer = find_differing_layer(
                    self.sampler, graphs["sequence"], adapter, error.whole, self.tolerance
                )
                raise ParityError(f"{error} {layer}".strip()) from None
        return ParityReport(self.reference.name, self.tolerance, checks)

    def form_checks(
        self, name: str, kind: str, run: GraphFunction, whole: GraphFunction | None
    ) -> tuple[Check, ...]:
        """Run the checks of a form, those of the graph in whose place it runs.

        Args:
            name: The name of the form.
            kind: The graph: `sequence`, or `step`, which is compared step by step.
            run: The form, in torch's ports.
            whole: The portable sequence graph, in torch's ports; None where there is none.

        Raises:
            ParityError: A difference is above the tolerance.
        """
        with one_thread():
            cases = [("steps", case) for case in self._chunked_cases(kind, whole)]
            cases.append(("golden", self._completed(self.golden, whole)))
            expected = map(self._cases.with_expected, self._cases.long_cases())
            if long := next(filter(None, expected), None):
                cases.append(("drift", self._completed(long, whole)))
            checks = [
                self._compare_chunks(role, kind, run, case)
                if kind == "step"
                else self._compare_whole(run, case)
                for role, case in cases
            ]
        return tuple(replace(check, form=name) for check in checks)

    def notes(self, report: ParityReport | None) -> tuple[str, ...]:
        """Return a note on the number of steps that the proof covers, where the model limits it."""
        wholes = () if report is None else [one for one in report.checks if one.name == "whole"]
        enough = self.sampler.frames.steps(LONGEST)
        longest = max((check.sequence for check in wholes), default=enough)
        if longest >= enough or not self._cases.failures or SEQUENCE in self.contract.most:
            return ()
        return (
            f"{self.reference.name} itself fails over {enough:,} steps "
            f"({self._cases.failures[-1]}); the graphs are proven over up to {longest}.",
        )

    def agrees(self, run: GraphFunction, sizes: AxisSizes, short: Collection[str] = ()) -> bool:
        """Return whether the sequence graph returns what the reference does, at some sizes.

        The number of steps is rounded up to whole hops. Sequences in the inputs of lengths in
        `short` all end before the last step.
        """
        steps = self.sampler.frames.whole_hops(sizes[SEQUENCE])
        with one_thread():
            case = self._cases.case_at({**sizes, SEQUENCE: steps}, short)
            try:
                if case is not None:
                    self._compare_whole(run, case)
            except Exception:
                return False  # such as a size that the graph cannot be run at
        return case is not None

    def runs(self, sizes: AxisSizes) -> bool:
        """Return whether the reference runs at some sizes, the number of steps in whole hops."""
        steps = self.sampler.frames.whole_hops(sizes[SEQUENCE])
        with one_thread():
            try:
                data = self.sampler.draw_data({**sizes, SEQUENCE: steps})
                self.sampler.run_reference(data, None)
            except Exception:
                return False
        return True

    def check_constants(self) -> None:
        """Raise InputError for constant sizes at which the reference itself fails."""
        if not self.constants:
            return
        traced = self.sampler.traced_sizes
        sizes = {**traced, **self.constants, BATCH: self._cases.allowed_batch(traced[BATCH])}
        try:
            self.sampler.run_reference(self.sampler.draw_data(sizes), None)
        except Exception as error:
            given = ", ".join(f"`{axis}` {size}" for axis, size in self.constants.items())
            raise InputError(
                f"{self.reference.name} itself fails at {given}: {failure_reason(error)}. Give "
                "another size."
            ) from error

    @functools.cached_property
    def golden(self) -> ComparisonCase:
        """A recorded run of the reference.

        Where the sequence graph takes a constant number of steps, the run has twice that number, or
        just that number if the state cannot be carried from one call to the next.
        """
        return self._cases.golden_case(self.constants.get(SEQUENCE, 0) * (1 + self._in_parts))

    def golden_arrays(self, graphs: Mapping[str, str], adapter: PortAdapter) -> Arrays:
        """Return the arrays of the golden run, by the names of exported ports.

        Outputs have all steps that the graphs give, zeros where these are undefined. Final states
        that only the graphs have are those of the sequence graph.

        Args:
            graphs: `sequence` → the file.
            adapter: From the reference's ports to those of the graphs.
        """
        run = adapter.adapt(graph_function("sequence", adapter.exported, graphs["sequence"]))
        case = self._completed(self.golden, run)
        outputs = self.sampler.frames.with_delay(case.expected.outputs)
        case = replace(case, expected=RunResult(outputs, case.expected.states))
        return adapter.adapt_arrays(case.by_port(self.contract))

    @property
    def _in_parts(self) -> bool:
        """Whether chunks give the same as whole sequences."""
        return self.contract.carry and self.contract.divisible

    def _run_checks(self, functions: Mapping[str, GraphFunction]) -> Iterator[Check]:
        """Yield every check that has passed, and log how many of them have."""
        _LOG.info("proving the graphs")
        short = self._cases.short_cases() if "sequence" in functions else []
        count = self._check_count(functions, len(short))
        for index, check in enumerate(self._checks(functions, short), 1):
            _LOG.info("proving the graphs: %d of %d", index, count)
            _LOG.debug("%s", check)
            yield check

    def _check_count(self, kinds: Collection[str], short: int) -> int:
        """Return how many checks there are where the model runs at all their sizes."""
        long = self._cases.has_long_cases
        count = len(kinds) + ROWS * sum(map(self._is_called, kinds))  # golden run, calls in a row
        if "sequence" in kinds:
            count += (short + len(self._cases.boundary_sizes)) * (2 if self.contract.states else 1)
            count += long and SEQUENCE not in self.constants
            count += len(self._chunked_sizes) * self._has_end
        if self._in_parts:
            count += len(kinds) * (len(self._chunked_sizes) + long)
        return count

    def _checks(
        self, functions: Mapping[str, GraphFunction], short: Sequence[ComparisonCase]
    ) -> Iterator[Check]:
        if "sequence" in functions:
            for case in (*short, *self._cases.boundary_cases()):
                yield self._compare_whole(functions["sequence"], case)
                if self.contract.states:
                    yield self._compare_whole(functions["sequence"], self._from_drawn_states(case))
        whole = None if SEQUENCE in self.constants else functions.get("sequence")
        long, check = self._compare_longest(whole)
        if check is not None:
            yield check
        whole = functions.get("sequence")
        long = None if long is None else self._completed(long, whole)
        for kind, run in functions.items() if self._in_parts else ():
            for case in self._chunked_cases(kind, whole):
                yield self._compare_chunks("steps" if kind == "step" else "chunks", kind, run, case)
            if long is not None:
                yield self._compare_chunks("drift", kind, run, long)
        if whole is not None and self._has_end:
            yield from self._compare_ends(whole)
        for kind, run in functions.items():
            yield self._compare_golden(kind, run, whole)
            yield from self._compare_calls(kind, run)

    def _compare_longest(
        self, run: GraphFunction | None
    ) -> tuple[ComparisonCase | None, Check | None]:
        """Run as many steps as the model takes, up to 1,000; compare `run` with it, if given.

        The graph runs first: its memory and the model's results are both large, and must not exist
        at the same time.
        """
        for case in self._cases.long_cases():
            got, failure = None, None
            try:
                got = None if run is None else run(case.data, case.start(self.sampler))
            except ParityError as error:
                failure = error
            complete = self._cases.with_expected(case)
            if complete is None:
                continue
            if failure is not None:
                raise failure
            return complete, None if got is None else self._check_whole(got, complete)
        return None, None

    def _from_drawn_states(self, case: ComparisonCase) -> ComparisonCase:
        """Return a case on the same data from states that the model can be in."""
        states = self.sampler.draw_states(case.batch, case.sizes[SEQUENCE])
        expected = self.sampler.run_reference(case.data, states)
        return replace(case, states=states, expected=expected)

    def _compare_whole(self, run: GraphFunction, case: ComparisonCase) -> Check:
        return self._check_whole(run(case.data, case.start(self.sampler)), case)

    def _check_whole(self, got: RunResult, case: ComparisonCase) -> Check:
        self._compare_shapes(got.outputs, case.sizes)
        return self._verdict.check("whole", "sequence", case, self._compared(got, case))

    def _compared(self, got: RunResult, case: ComparisonCase) -> Comparison:
        """Compare a whole run of a graph with a case, without undefined frames."""
        outputs = self.sampler.frames.of_graph(got.outputs, case.hops_before)
        got = RunResult(outputs, got.states)
        return compare(got, case.expected, feature_ports(self.contract))

    def _compare_chunks(
        self, name: str, kind: str, run: GraphFunction, case: ComparisonCase
    ) -> Check:
        """Compare a run in chunks, each from the state of the one before, with a whole run."""
        hop, steps = self.contract.hop, case.sizes[SEQUENCE]
        size = hop if kind == "step" else self.constants.get(SEQUENCE)  # None for any number
        rng = self.sampler.rng
        lengths = [size] * (steps // size) if size else random_lengths(rng, steps, hop)
        comparison = compare_chunks(self.sampler, run, case, lengths, kind == "step")
        return self._verdict.check(name, kind, case, comparison)

    @property
    def _chunked_sizes(self) -> list[tuple[int, int]]:
        """The numbers of sequences and of hops of the short runs in chunks."""
        return [*dict.fromkeys((self._cases.allowed_batch(b), hops) for b, hops in _CHUNKED)]

    def _chunked_cases(self, kind: str, whole: GraphFunction | None) -> Iterator[ComparisonCase]:
        """Yield runs of a few hops, from states that the model and the graphs can be in."""
        sizes = [
            self.sampler.sizes_at(batch, self._cases.allowed_steps(hops, kind == "step"))
            for batch, hops in self._chunked_sizes
        ]
        for one in sizes:
            case = self._from_drawn_states(ComparisonCase(one, self.sampler.draw_data(one)))
            yield self._completed(case, whole)
        if self.sampler.contexts and whole is not None and SEQUENCE not in self.constants:
            yield from continued_cases(self.sampler, whole, sizes)

    @property
    def _has_end(self) -> bool:
        """Whether padding after the end gives the last frames, in calls of any number of steps."""
        contexts, padding = self.sampler.contexts, self.contract.padding
        return bool(contexts and padding) and SEQUENCE not in self.constants

    def _compare_ends(self, run: GraphFunction) -> Iterator[Check]:
        """Compare the last frames too, by the padding that gives them."""
        for batch, hops in self._chunked_sizes:
            steps = self._cases.allowed_steps(hops)
            if steps + end_steps(self.sampler) > self.contract.most.get(SEQUENCE, math.inf):
                continue
            sizes = self.sampler.sizes_at(batch, steps)
            case = self._from_drawn_states(ComparisonCase(sizes, self.sampler.draw_data(sizes)))
            comparison = compare_end(self.sampler, run, case)
            yield self._verdict.check("end", "sequence", case, comparison)

    def _compare_golden(self, kind: str, run: GraphFunction, whole: GraphFunction | None) -> Check:
        """Compare the golden run, with which hosts will check themselves."""
        case = self._completed(self.golden, whole)
        steps = case.sizes[SEQUENCE]
        if kind == "step" or self.constants.get(SEQUENCE, steps) != steps:
            return self._compare_chunks("golden", kind, run, case)
        comparison = self._compared(run(case.data, case.start(self.sampler)), case)
        return self._verdict.check("golden", kind, case, comparison)

    def _compare_calls(self, kind: str, run: GraphFunction) -> Iterator[Check]:
        """Compare calls in a row with those of a model that keeps memory from call to call."""
        if self.in_row is None or not self._is_called(kind):
            return
        for batch, lengths in call_plan(kind, self._cases):
            comparison, rounding = self.in_row.compare(kind, run, batch, lengths)
            sizes = self.sampler.sizes_at(batch, sum(lengths))
            yield self._verdict.check(
                "calls", kind, ComparisonCase(sizes, {}), comparison, rounding
            )

    def _is_called(self, kind: str) -> bool:
        """Return whether a call of a graph is compared with a call of the model itself.

        A step of a graph with contexts is not: to the model, a call is a whole sequence.
        """
        return self.in_row is not None and not (kind == "step" and self.sampler.contexts)

    def _completed(self, case: ComparisonCase, whole: GraphFunction | None) -> ComparisonCase:
        """Return a case with the final states that only the sequence graph has."""
        return complete_states(self.sampler, whole, case, self.constants.get(SEQUENCE))

    def _compare_shapes(self, outputs: Arrays, sizes: AxisSizes) -> None:
        for port in self.contract.data_outputs("sequence"):
            declared, shape = evaluate_shape(port.shape, sizes), outputs[port.name].shape
            if declared is not None and shape != declared:
                raise ParityError(
                    f"`{port}` came out as {shape} at {format_sizes(sizes)}, where "
                    f"{declared} was declared. Where forward squeezes or flattens, let it name the "
                    "axis."
                )
