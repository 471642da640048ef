"""The gate: exported graphs against the model as it was given, in a fresh ONNX Runtime session.

Compared are outputs and final states: whole sequences, up to a thousand steps and to both sides of
every bound, from the initial state and from others that the model can reach; step by step; by
chunks of random lengths; and the golden run. At most one of the sizes is the traced one. The shapes
that come out must be the declared ones, NaN agrees with nothing, and a comparison that compared
nothing is a failure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgernn.axis_sizes import evaluate_shape
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError, ParityError
from edgernn.export.proof.chunked_runs import Chunks
from edgernn.export.proof.difference import TOLERANCE, Comparison, compare
from edgernn.export.proof.eager_reference import Reference, one_thread
from edgernn.export.proof.golden_record import Golden, record
from edgernn.export.proof.graph_runs import Arrays, Run, features_of, session_of
from edgernn.export.proof.integer_products import check_integers
from edgernn.export.proof.locate_divergence import first_difference
from edgernn.export.proof.port_adapter import Dialect
from edgernn.export.proof.samples import Samples, Sizes
from edgernn.export.proof.trials import LONGEST, Trial, Trials
from edgernn.report import Check, ParityReport

__all__ = ["Prover"]

_STEPPED = ((1, 1), (2, 7), (3, 5))


@dataclass(frozen=True)
class Prover:
    """Compares graphs with a reference.

    Attributes:
        samples: The reference and what it is run on, with the contract of the graphs in torch's
            ports; always with a sequence graph's.
        tolerance: The largest difference that passes.
        constants: The sizes of `batch` and `sequence` where the graphs take one only.
        apart: Further sizes at which whole runs are compared: name of an axis → its size.
    """

    samples: Samples
    tolerance: float = TOLERANCE
    constants: Mapping[str, int] = field(default_factory=dict)
    apart: Sequence[Mapping[str, int]] = ()

    @property
    def contract(self) -> Contract:
        """The contract of the graphs in torch's ports."""
        return self.samples.contract

    @property
    def reference(self) -> Reference:
        """What the graphs are compared with."""
        return self.samples.reference

    @functools.cached_property
    def _trials(self) -> Trials:
        return Trials(self.samples, self.constants, self.apart)

    def report(self, graphs: Mapping[str, str], dialect: Dialect) -> ParityReport:
        """Run every check.

        Args:
            graphs: `sequence` and, where there is one, `step` → the file.
            dialect: From the reference's ports to those of the graphs.

        Raises:
            ParityError: A difference is above the tolerance or a shape is not the declared one.
            UnsupportedModelError: The reference gives nothing to compare with.
        """
        for kind, graph in graphs.items():
            check_integers(kind, graph)
        runs = {
            kind: dialect.run(session_of(kind, dialect.written, graph))
            for kind, graph in graphs.items()
        }
        with one_thread():
            try:
                checks = tuple(self._checks(runs))
            except _DisagreementError as error:
                where = self._blame(graphs["sequence"], dialect, error) if error.whole else ""
                raise ParityError(f"{error} {where}".strip()) from None
        return ParityReport(self.reference.name, self.tolerance, checks)

    def notes(self, report: ParityReport | None) -> tuple[str, ...]:
        """Return what people should know of the proof: over how many steps it went, if few."""
        wholes = () if report is None else [one for one in report.checks if one.name == "whole"]
        longest = max((check.sequence for check in wholes), default=LONGEST)
        if longest >= LONGEST or not self._trials.failures or SEQUENCE in self.contract.most:
            return ()
        return (
            f"{self.reference.name} itself fails over {LONGEST:,} steps "
            f"({self._trials.failures[-1]}); the graphs are proven over up to {longest}.",
        )

    def agrees(self, run: Run, sizes: Sizes, short: Collection[str] = ()) -> bool:
        """Return whether the sequence graph gives what the reference does, whole, at some sizes.

        Args:
            run: The graph.
            sizes: The size of every dynamic axis.
            short: Inputs of lengths that all end before the last step.
        """
        with one_thread():
            trial = self._trials.run(sizes, short)
            try:
                if trial is not None:
                    self._whole(run, trial, None)
            except Exception:
                return False  # such as a size that the graph cannot be run at
        return trial is not None

    def runs(self, sizes: Sizes) -> bool:
        """Return whether the reference runs at some sizes."""
        with one_thread():
            try:
                self.samples.run(self.samples.data(sizes), None)
            except Exception:
                return False
        return True

    def check_constants(self) -> None:
        """Refuse constant sizes at which the reference itself fails.

        Raises:
            InputError: It fails.
        """
        if not self.constants:
            return
        traced = self.samples.traced
        sizes = {**traced, **self.constants, BATCH: self._trials.batch(traced[BATCH])}
        try:
            self.samples.run(self.samples.data(sizes), None)
        except Exception as error:
            given = ", ".join(f"`{axis}` {size}" for axis, size in self.constants.items())
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise InputError(
                f"{self.reference.name} itself fails at {given}: {reason}. Give another size."
            ) from error

    @functools.cached_property
    def golden(self) -> Golden:
        """A recorded run of the reference.

        Where the sequence graph takes a number of steps only, there are twice as many, or as many
        where the state cannot be carried from one call to the next.
        """
        size = self.constants.get(SEQUENCE, 0) * (1 + self.contract.carry)
        return record(self.samples, self._trials.batch(2), size or None)

    def _checks(self, runs: Mapping[str, Run]) -> Iterator[Check]:
        if "sequence" in runs:
            for trial in (*self._trials.short(), *self._trials.bounds()):
                yield from self._wholes(runs["sequence"], trial)
        whole = None if SEQUENCE in self.constants else runs.get("sequence")
        long, check = self._long(whole)
        if check is not None:
            yield check
        for kind, run in runs.items() if self.contract.carry else ():
            name = "steps" if kind == "step" else "chunks"
            for trial, states in self._stepped(kind):
                yield self._parts(name, kind, run, trial, states)
            if long is not None:
                yield self._parts("drift", kind, run, long, None)
        for kind, run in runs.items():
            yield self._golden(kind, run)

    def _long(self, run: Run | None) -> tuple[Trial | None, Check | None]:
        """Run as many steps as the model takes, up to 1,000; compare `run` with it, if given.

        The graph runs first: what it needs to compute and what the model gave are large, and then
        never there at the same time.
        """
        for trial in self._trials.long():
            got, failure = None, None
            try:
                got = None if run is None else run(trial.data, self.samples.start(trial.batch))
            except ParityError as error:
                failure = error
            done = self._trials.completed(trial)
            if done is None:
                continue
            if failure is not None:
                raise failure
            return done, None if got is None else self._compared(got, done, None)
        return None, None

    def _wholes(self, run: Run, trial: Trial) -> Iterator[Check]:
        yield self._whole(run, trial, None)
        if self.contract.states:
            states = self.samples.states(trial.batch)
            expected = self.samples.run(trial.data, states)
            yield self._whole(run, replace(trial, expected=expected), states)

    def _whole(self, run: Run, trial: Trial, states: Arrays | None) -> Check:
        start = self.samples.start(trial.batch) if states is None else states
        return self._compared(run(trial.data, start), trial, states)

    def _compared(self, got: tuple[Arrays, Arrays], trial: Trial, states: Arrays | None) -> Check:
        """Compare what a whole run of the sequence graph gave with what the model did."""
        self._compare_shapes(got[0], trial.sizes)
        comparison = compare(got, trial.expected, features_of(self.contract))
        return self._check("whole", "sequence", trial, states, comparison)

    def _parts(self, name: str, kind: str, run: Run, trial: Trial, states: Arrays | None) -> Check:
        """Compare a run in parts, the state carried on from each to the next, with a whole one."""
        start = self.samples.start(trial.batch) if states is None else states
        size, steps = self._only_steps(kind), trial.sizes[SEQUENCE]
        lengths = [size] * (steps // size) if size else _chunks(self.samples.rng, steps)
        chunks = Chunks(self.contract, lengths, kind == "step", self.samples.lengths)
        comparison = chunks.compare(run, trial.data, start, trial.expected)
        return self._check(name, kind, trial, states, comparison)

    def _stepped(self, kind: str) -> Iterator[tuple[Trial, Arrays]]:
        """Yield runs of a few steps, from states that the model can reach."""
        for batch, steps in dict.fromkeys((self._trials.batch(b), t) for b, t in _STEPPED):
            within = self.contract.within(SEQUENCE, steps)
            sizes = self.samples.at(batch, within if kind == "step" else self._trials.steps(steps))
            data, states = self.samples.data(sizes), self.samples.states(batch)
            yield Trial(sizes, data, self.samples.run(data, states)), states

    def _only_steps(self, kind: str) -> int | None:
        """Return how many steps a call of graph `kind` takes; None for any number."""
        return 1 if kind == "step" else self.constants.get(SEQUENCE)

    def _golden(self, kind: str, run: Run) -> Check:
        """Compare the golden run, by which hosts will prove themselves."""
        golden = self.golden
        sizes = self.samples.at(golden.batch, golden.steps)
        trial = Trial(sizes, golden.data, golden.expected)
        if kind == "step" or self.constants.get(SEQUENCE, golden.steps) != golden.steps:
            return self._parts("golden", kind, run, trial, golden.states)
        got = run(golden.data, golden.states)
        comparison = compare(got, golden.expected, features_of(self.contract))
        return self._check("golden", kind, trial, golden.states, comparison)

    def _check(
        self, name: str, kind: str, trial: Trial, states: Arrays | None, comparison: Comparison
    ) -> Check:
        batch, sequence = trial.sizes[BATCH], trial.sizes[SEQUENCE]
        initial = self._initial() if states is None else self.samples.kind
        if not comparison.compared:
            raise ParityError(
                f"At batch {batch}, sequence {sequence} the {kind} graph and "
                f"{self.reference.name} give nothing that could be compared."
            )
        over, tolerance = comparison.over(self.tolerance), None
        if over:
            rounding = self._rounding(trial, states)
            allowed = {one: one.allowed(self.tolerance, rounding(one.port)) for one in over}
            for one in over:
                if not one.amount <= allowed[one]:
                    most = f" (at most {allowed[one]:.1e} is allowed)"
                    raise _DisagreementError(
                        f"The {kind} graph does not agree with {self.reference.name}: "
                        f"`{one.port}` differs {one.how}{most if 'by ' in one.how else ''} at "
                        f"{_listed(trial.sizes)}, {initial} initial state, run {_HOW[name]}.",
                        name == "whole",
                        trial.data,
                        self.samples.start(batch) if states is None else states,
                    )
            tolerance = max(self.tolerance, *allowed.values())
        difference = comparison.largest.amount
        return Check(name, kind, batch, sequence, initial, difference, tolerance)

    def _rounding(self, trial: Trial, states: Arrays | None) -> Callable[[str], float]:
        """Return what float32 itself costs the reference at each port.

        0 where it does not run in float64.
        """
        try:
            exact = self.samples.run(trial.data, states, self.reference.double())
            return compare(trial.expected, exact, features_of(self.contract)).rounding
        except Exception:
            return lambda _: 0.0

    def _blame(self, graph: str, dialect: Dialect, error: _DisagreementError) -> str:
        layers = self.reference.layers(self.samples.by_path(error.data), error.states)
        return first_difference(graph, dialect, error.data, error.states, layers, self.tolerance)

    def _compare_shapes(self, outputs: Arrays, sizes: Sizes) -> None:
        for port in self.contract.data_outputs("sequence"):
            declared = evaluate_shape(port.shape, sizes)
            if declared is not None and outputs[port.name].shape != declared:
                raise ParityError(
                    f"`{port}` came out as {outputs[port.name].shape} at {_listed(sizes)}, where "
                    f"{declared} was declared. Where forward squeezes or flattens, let it name the "
                    "axis."
                )

    def _initial(self) -> str:
        learned = any(state.initial is not None for state in self.contract.states)
        return "learned" if learned else "zero"


class _DisagreementError(ParityError):
    """When a graph differs; holds what it was run on."""

    def __init__(self, message: str, whole: bool, data: Arrays, states: Arrays) -> None:
        super().__init__(message)
        self.whole = whole
        self.data = data
        self.states = states


_HOW = {
    "whole": "whole",
    "steps": "step by step",
    "chunks": "by chunks",
    "drift": "over many steps",
    "golden": "as recorded for hosts",
}


def _chunks(rng: np.random.Generator, steps: int) -> list[int]:
    """Cut `steps` into chunks of random lengths."""
    count = min(steps - 1, 6)
    cuts = sorted(rng.choice(np.arange(1, steps), count, replace=False)) if count else []
    return [int(length) for length in np.diff([0, *cuts, steps])]


def _listed(sizes: Sizes) -> str:
    named = {BATCH: sizes[BATCH], SEQUENCE: sizes[SEQUENCE], **sizes}
    return ", ".join(f"{axis} {size}" for axis, size in named.items())
