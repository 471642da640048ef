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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError, ParityError
from edgernn.export.ir.onnx_session import Arrays, failure_reason
from edgernn.export.proof.calls_in_row import ROWS, CallsInRow
from edgernn.export.proof.comparison_cases import LONGEST, ComparisonCase, ComparisonCases
from edgernn.export.proof.differing_layer import find_differing_layer
from edgernn.export.proof.eager_reference import one_thread
from edgernn.export.proof.graph_comparisons import GraphComparisons
from edgernn.export.proof.graph_function import GraphFunction, graph_function
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.export.proof.integer_products import check_integers
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.export.proof.reference import Reference, RunResult
from edgernn.export.proof.verdict import DisagreementError
from edgernn.report import Check, ParityReport
from edgernn.tolerances import TOLERANCE

__all__ = ["Prover"]

_LOG = logging.getLogger("edgernn.export")


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

    @functools.cached_property
    def _cases(self) -> ComparisonCases:
        return ComparisonCases(self.sampler, self.constants, self.extra_sizes)

    @property
    def _compare(self) -> GraphComparisons:
        return GraphComparisons(self._cases, self.tolerance, self.in_row)

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
            cases = [("steps", case) for case in self._compare.chunked_cases(kind, whole)]
            cases.append(("golden", self._compare.completed(self.golden, whole)))
            expected = map(self._cases.with_expected, self._cases.long_cases())
            if long := next(filter(None, expected), None):
                cases.append(("drift", self._compare.completed(long, whole)))
            checks = [
                self._compare.chunks(role, kind, run, case)
                if kind == "step"
                else self._compare.whole(run, case)
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
                    self._compare.whole(run, case)
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
        case = self._compare.completed(self.golden, run)
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
        compare, long = self._compare, self._cases.has_long_cases
        count = len(kinds)  # of the golden run
        count += ROWS * sum(map(compare.is_called, kinds))
        if "sequence" in kinds:
            count += (short + len(self._cases.boundary_sizes)) * (2 if self.contract.states else 1)
            count += long and SEQUENCE not in self.constants
            count += len(compare.chunked_sizes) * compare.has_end
        if self._in_parts:
            count += len(kinds) * (len(compare.chunked_sizes) + long)
        return count

    def _checks(
        self, functions: Mapping[str, GraphFunction], short: Sequence[ComparisonCase]
    ) -> Iterator[Check]:
        compare = self._compare
        if "sequence" in functions:
            for case in (*short, *self._cases.boundary_cases()):
                yield compare.whole(functions["sequence"], case)
                if self.contract.states:
                    yield compare.whole(functions["sequence"], compare.from_drawn_states(case))
        whole = None if SEQUENCE in self.constants else functions.get("sequence")
        long, check = compare.longest(whole)
        if check is not None:
            yield check
        whole = functions.get("sequence")
        long = None if long is None else compare.completed(long, whole)
        for kind, run in functions.items() if self._in_parts else ():
            for case in compare.chunked_cases(kind, whole):
                yield compare.chunks("steps" if kind == "step" else "chunks", kind, run, case)
            if long is not None:
                yield compare.chunks("drift", kind, run, long)
        if whole is not None and compare.has_end:
            yield from compare.ends(whole)
        for kind, run in functions.items():
            yield compare.golden(kind, run, whole, self.golden)
            yield from compare.calls(kind, run)
