"""Whether a comparison passes: as a check, or as an error that says what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import ParityError
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.difference import Comparison, Difference, compare
from edgernn.export.proof.graph_function import feature_ports
from edgernn.export.proof.input_sampler import AxisSizes, InputSampler
from edgernn.report import Check

__all__ = ["DisagreementError", "Verdict", "format_sizes"]


class DisagreementError(ParityError):
    """When a graph differs; holds the case if the graph ran whole sequences."""

    def __init__(self, message: str, whole: ComparisonCase | None) -> None:
        super().__init__(message)
        self.whole = whole


@dataclass(frozen=True)
class Verdict:
    """Decides whether comparisons with a reference pass.

    Attributes:
        sampler: The reference, and what it is run on.
        tolerance: The largest difference that passes.
    """

    sampler: InputSampler
    tolerance: float

    def check(
        self,
        name: str,
        kind: str,
        case: ComparisonCase,
        comparison: Comparison,
        rounding: Callable[[str], float] | None = None,
    ) -> Check:
        """Return the result of a comparison.

        Args:
            name: What was compared: `whole`, `steps`, `chunks`, …
            kind: `sequence` or `step`.
            case: The run.
            comparison: The comparison of a graph with what the case expects.
            rounding: From the name of a port to the error of the reference in float32 there; None
                to measure it.

        Raises:
            ParityError: Nothing was compared, or a difference is larger than allowed.
        """
        batch, sequence = case.sizes[BATCH], case.sizes[SEQUENCE]
        empty = self._empty_output(case, comparison)
        if empty or not comparison.compared:
            nothing = f"no frame of `{empty}`" if empty else "nothing"
            raise ParityError(
                f"At batch {batch}, sequence {sequence} the {kind} graph and "
                f"{self._expecting(case, empty)} give {nothing} that could be compared."
            )
        violations, tolerance = comparison.violations(self.tolerance), None
        if violations:
            rounding = rounding or self._rounding(case)
            allowed = {
                one: one.allowed(self._tolerance_of(case, one.port), rounding(one.port))
                for one in violations
            }
            for one in violations:
                if not one.amount <= allowed[one]:
                    text = self._disagreement(name, kind, case, one, allowed[one])
                    raise DisagreementError(text, case if name == "whole" else None)
            tolerance = max(self.tolerance, *allowed.values())
        initial, difference = self._initial_kind(case), comparison.largest.amount
        return Check(name, kind, batch, sequence, initial, difference, tolerance)

    def _tolerance_of(self, case: ComparisonCase, port: str) -> float:
        """Return the largest difference that passes at a port.

        Two runs of graphs may each differ by the tolerance from what is exact.
        """
        return 2 * self.tolerance if port in case.from_graph else self.tolerance

    def _disagreement(
        self, name: str, kind: str, case: ComparisonCase, one: Difference, allowed: float
    ) -> str:
        """Say which port differs from what, by how much, and in which run."""
        most = f" (at most {allowed:.1e} is allowed)" if "by " in one.how else ""
        return (
            f"The {kind} graph does not agree with {self._expecting(case, one.port)}: "
            f"{self._named(one.port)} differs {one.how}{most} at {format_sizes(case.sizes)}, "
            f"{self._initial_kind(case)} initial state, run {_HOW[name]}."
        )

    def _empty_output(self, case: ComparisonCase, comparison: Comparison) -> str:
        """Return the name of an output with a hop or a delay of which no frame was compared."""
        contract = self.sampler.contract
        if contract.hop == 1 and not contract.delays and not contract.tails:
            return ""
        names = self.sampler.frames.axes.keys() & case.expected.outputs.keys()
        return next((name for name in names if comparison.is_empty(name)), "")

    def _expecting(self, case: ComparisonCase, port: str) -> str:
        """Return what gave the values that are expected of a port, in words."""
        if port in case.from_graph:
            return "the sequence graph in one call"
        return self.sampler.reference.name

    def _named(self, port: str) -> str:
        """Return the name of a port, with its delay and its tail where it has them."""
        contract = self.sampler.contract
        counts = {"delay": contract.delays.get(port), "tail": contract.tails.get(port)}
        known = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        return f"`{port}` ({known})" if known else f"`{port}`"

    def _initial_kind(self, case: ComparisonCase) -> str:
        if case.hops_before:
            return "reached"
        if case.states is not None:
            return self.sampler.state_kind
        learned = any(state.initial is not None for state in self.sampler.contract.states)
        return "learned" if learned else "zero"

    def _rounding(self, case: ComparisonCase) -> Callable[[str], float]:
        """Return the error of the reference in float32 at each port, 0 if float64 fails.

        The reference cannot go on from what graphs keep of the past; there its error on the same
        data in a new stream is the measure.
        """
        expected, states = case.expected, case.states
        try:
            if case.hops_before:
                expected, states = self.sampler.run_reference(case.data, None), None
            double = self.sampler.reference.double()
            exact = self.sampler.run_reference(case.data, states, double)
            return compare(expected, exact, feature_ports(self.sampler.contract)).rounding
        except Exception:
            return lambda _: 0.0


_HOW = {
    "whole": "whole",
    "steps": "step by step",
    "chunks": "by chunks",
    "drift": "over many steps",
    "golden": "as recorded for hosts",
    "end": "to the end of the padding",
    "calls": "call after call",
}


def format_sizes(sizes: AxisSizes) -> str:
    """Return the sizes of all axes as a message has them, batch and sequence first."""
    named = {BATCH: sizes[BATCH], SEQUENCE: sizes[SEQUENCE], **sizes}
    return ", ".join(f"{axis} {size}" for axis, size in named.items())
