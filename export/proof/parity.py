"""The gate: exported graphs in ONNX Runtime against the user's own model.

Outputs and final states are compared

1. of whole sequences: up to a thousand steps, at both sides of every bound, from the initial state
   and from others that the model can be in;
2. of runs step by step, and in chunks of random lengths;
3. of the golden run;
4. where the model keeps memory from call to call, of calls in a row, with the model called so.

At most one of the sizes is the traced one. Shapes must be as declared, NaN agrees with nothing, and
a comparison of nothing is a failure.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError, ParityError
from edgernn.export.ir.onnx_session import Arrays, failure_reason
from edgernn.export.ir.recurrent_operators import is_recurrent
from edgernn.export.proof.calls_in_row import ROWS, CallsInRow, call_plan
from edgernn.export.proof.chunked_comparison import compare_chunks, random_lengths
from edgernn.export.proof.comparison_cases import LONGEST, ComparisonCase, ComparisonCases
from edgernn.export.proof.difference import TOLERANCE, Comparison, compare
from edgernn.export.proof.eager_reference import one_thread
from edgernn.export.proof.graph_function import GraphFunction, feature_ports, graph_function
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.export.proof.integer_products import check_integers
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.export.proof.reference import Reference, RunResult
from edgernn.report import Check, ParityReport, scaled_difference

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
            except _DisagreementError as error:
                if error.whole is None:
                    raise ParityError(str(error)) from None
                layer = self._differing_layer(graphs["sequence"], adapter, error.whole)
                raise ParityError(f"{error} {layer}".strip()) from None
        return ParityReport(self.reference.name, self.tolerance, checks)

    def notes(self, report: ParityReport | None) -> tuple[str, ...]:
        """Return a note on the number of steps that the proof covers, where the model limits it."""
        wholes = () if report is None else [one for one in report.checks if one.name == "whole"]
        longest = max((check.sequence for check in wholes), default=LONGEST)
        if longest >= LONGEST or not self._cases.failures or SEQUENCE in self.contract.most:
            return ()
        return (
            f"{self.reference.name} itself fails over {LONGEST:,} steps "
            f"({self._cases.failures[-1]}); the graphs are proven over up to {longest}.",
        )

    def agrees(self, run: GraphFunction, sizes: AxisSizes, short: Collection[str] = ()) -> bool:
        """Return whether the sequence graph returns what the reference does, at some sizes.

        Sequences in the inputs of lengths in `short` all end before the last step.
        """
        with one_thread():
            case = self._cases.case_at(sizes, short)
            try:
                if case is not None:
                    self._compare_whole(run, case)
            except Exception:
                return False  # such as a size that the graph cannot be run at
        return case is not None

    def runs(self, sizes: AxisSizes) -> bool:
        """Return whether the reference runs at some sizes."""
        with one_thread():
            try:
                self.sampler.run_reference(self.sampler.draw_data(sizes), None)
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
        in_parts = self.contract.carry and self.contract.divisible
        return self._cases.golden_case(self.constants.get(SEQUENCE, 0) * (1 + in_parts))

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
        count = len(kinds) * (1 + (ROWS if self.in_row else 0))  # the golden run, calls in a row
        if "sequence" in kinds:
            count += (short + len(self._cases.boundary_sizes)) * (2 if self.contract.states else 1)
            count += long and SEQUENCE not in self.constants
        if self.contract.carry and self.contract.divisible:
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
        in_parts = self.contract.carry and self.contract.divisible
        for kind, run in functions.items() if in_parts else ():
            for case in self._chunked_cases(kind):
                yield self._compare_chunks("steps" if kind == "step" else "chunks", kind, run, case)
            if long is not None:
                yield self._compare_chunks("drift", kind, run, long)
        for kind, run in functions.items():
            yield self._compare_golden(kind, run)
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
                got = None if run is None else run(case.data, self._start(case))
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
        states = self.sampler.draw_states(case.batch)
        expected = self.sampler.run_reference(case.data, states)
        return replace(case, states=states, expected=expected)

    def _compare_whole(self, run: GraphFunction, case: ComparisonCase) -> Check:
        return self._check_whole(run(case.data, self._start(case)), case)

    def _check_whole(self, got: RunResult, case: ComparisonCase) -> Check:
        self._compare_shapes(got.outputs, case.sizes)
        comparison = compare(got, case.expected, feature_ports(self.contract))
        return self._check("whole", "sequence", case, comparison)

    def _compare_chunks(
        self, name: str, kind: str, run: GraphFunction, case: ComparisonCase
    ) -> Check:
        """Compare a run in chunks, each from the state of the one before, with a whole run."""
        size = 1 if kind == "step" else self.constants.get(SEQUENCE)  # None for any number
        steps = case.sizes[SEQUENCE]
        lengths = [size] * (steps // size) if size else random_lengths(self.sampler.rng, steps)
        comparison = compare_chunks(self.sampler, run, case, lengths, kind == "step")
        return self._check(name, kind, case, comparison)

    @property
    def _chunked_sizes(self) -> list[tuple[int, int]]:
        """The numbers of sequences and of steps of the short runs in chunks."""
        return [*dict.fromkeys((self._cases.allowed_batch(b), steps) for b, steps in _CHUNKED)]

    def _chunked_cases(self, kind: str) -> Iterator[ComparisonCase]:
        """Yield runs of a few steps, from states that the model can be in."""
        for batch, steps in self._chunked_sizes:
            if kind == "step":
                steps = self.contract.within(SEQUENCE, steps)
            else:
                steps = self._cases.allowed_steps(steps)
            sizes = self.sampler.sizes_at(batch, steps)
            yield self._from_drawn_states(ComparisonCase(sizes, self.sampler.draw_data(sizes)))

    def _compare_golden(self, kind: str, run: GraphFunction) -> Check:
        """Compare the golden run, with which hosts will check themselves."""
        case, steps = self.golden, self.golden.sizes[SEQUENCE]
        if kind == "step" or self.constants.get(SEQUENCE, steps) != steps:
            return self._compare_chunks("golden", kind, run, case)
        got = run(case.data, self._start(case))
        comparison = compare(got, case.expected, feature_ports(self.contract))
        return self._check("golden", kind, case, comparison)

    def _compare_calls(self, kind: str, run: GraphFunction) -> Iterator[Check]:
        """Compare calls in a row with those of a model that keeps memory from call to call."""
        if self.in_row is None:
            return
        for batch, lengths in call_plan(kind, self._cases):
            comparison, rounding = self.in_row.compare(kind, run, batch, lengths)
            sizes = self.sampler.sizes_at(batch, sum(lengths))
            yield self._check("calls", kind, ComparisonCase(sizes, {}), comparison, rounding)

    def _check(
        self,
        name: str,
        kind: str,
        case: ComparisonCase,
        comparison: Comparison,
        rounding: Callable[[str], float] | None = None,
    ) -> Check:
        """Return the result of a comparison.

        Raises:
            ParityError: Nothing was compared, or a difference is larger than allowed.
        """
        batch, sequence = case.sizes[BATCH], case.sizes[SEQUENCE]
        if not comparison.compared:
            raise ParityError(
                f"At batch {batch}, sequence {sequence} the {kind} graph and "
                f"{self.reference.name} give nothing that could be compared."
            )
        initial = self._initial_kind() if case.states is None else self.sampler.state_kind
        violations, tolerance = comparison.violations(self.tolerance), None
        if violations:
            rounding = rounding or self._rounding(case)
            allowed = {one: one.allowed(self.tolerance, rounding(one.port)) for one in violations}
            for one in violations:
                if not one.amount <= allowed[one]:
                    most = f" (at most {allowed[one]:.1e} is allowed)"
                    raise _DisagreementError(
                        f"The {kind} graph does not agree with {self.reference.name}: "
                        f"`{one.port}` differs {one.how}{most if 'by ' in one.how else ''} at "
                        f"{_listed(case.sizes)}, {initial} initial state, run {_HOW[name]}.",
                        case if name == "whole" else None,
                    )
            tolerance = max(self.tolerance, *allowed.values())
        difference = comparison.largest.amount
        return Check(name, kind, batch, sequence, initial, difference, tolerance)

    def _rounding(self, case: ComparisonCase) -> Callable[[str], float]:
        """Return the error of the reference in float32 at each port, 0 if float64 fails."""
        try:
            exact = self.sampler.run_reference(case.data, case.states, self.reference.double())
            return compare(case.expected, exact, feature_ports(self.contract)).rounding
        except Exception:
            return lambda _: 0.0

    def _differing_layer(self, graph: str, adapter: PortAdapter, case: ComparisonCase) -> str:
        """Return a sentence with the first layer that differs, or nothing if layers do not match.

        The reference's are (sequence, batch, directions · size) or (batch, sequence, …).
        """
        data, states = case.data, self._start(case)
        expected = self.reference.layers(self.sampler.inputs_by_path(data), states)
        model = ir.load(graph)
        layers: dict[str, ir.Value] = {}
        for node in model.graph:
            if is_recurrent(node) and node.name:
                layers[re.sub(r"_l\d+$", "", node.name)] = node.outputs[0]
        if not expected or len(layers) != len(expected):
            return ""
        model.graph.outputs.extend(y for y in layers.values() if y not in model.graph.outputs)
        names = [y.name or "" for y in layers.values()]
        run = adapter.adapt(graph_function("sequence", adapter.exported, model, names))
        outputs, _ = run(data, states)
        for (layer, y), reference in zip(layers.items(), expected, strict=True):
            output = outputs[y.name or ""].transpose(0, 2, 1, 3)
            merged = output.reshape(*output.shape[:2], -1)  # (sequence, batch, directions · size)
            gap = min(scaled_difference(got, reference) for got in (merged, merged.swapaxes(0, 1)))
            if not gap <= self.tolerance:
                return f"The first layer to differ is `{layer}`, {reference.shape}, by {gap:.1e}."
        return "All recurrent layers agree; what follows them differs."

    def _compare_shapes(self, outputs: Arrays, sizes: AxisSizes) -> None:
        for port in self.contract.data_outputs("sequence"):
            declared = evaluate_shape(port.shape, sizes)
            if declared is not None and outputs[port.name].shape != declared:
                raise ParityError(
                    f"`{port}` came out as {outputs[port.name].shape} at {_listed(sizes)}, where "
                    f"{declared} was declared. Where forward squeezes or flattens, let it name the "
                    "axis."
                )

    def _start(self, case: ComparisonCase) -> Arrays:
        """Return the states that a case starts from."""
        return self.sampler.initial_states(case.batch) if case.states is None else case.states

    def _initial_kind(self) -> str:
        learned = any(state.initial is not None for state in self.contract.states)
        return "learned" if learned else "zero"


class _DisagreementError(ParityError):
    """When a graph differs; holds the case if the graph ran whole sequences."""

    def __init__(self, message: str, whole: ComparisonCase | None) -> None:
        super().__init__(message)
        self.whole = whole


_HOW = {
    "whole": "whole",
    "steps": "step by step",
    "chunks": "by chunks",
    "drift": "over many steps",
    "golden": "as recorded for hosts",
    "calls": "call after call",
}


def _listed(sizes: AxisSizes) -> str:
    named = {BATCH: sizes[BATCH], SEQUENCE: sizes[SEQUENCE], **sizes}
    return ", ".join(f"{axis} {size}" for axis, size in named.items())
