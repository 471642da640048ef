"""The gate: exported graphs against eager torch, in a fresh ONNX Runtime session.

Compared are outputs and final states: whole sequences from the initial and from a random state,
step by step, by chunks of random lengths, and over a thousand steps, at sizes of which at most one
is the traced one. The shapes that come out must be the declared ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import InputError, ParityError
from edgernn.export.proof.blame import first_difference
from edgernn.export.proof.dialect import Dialect
from edgernn.export.proof.eager import Reference, one_thread
from edgernn.export.proof.gap import gap_at, worst
from edgernn.export.proof.integers import check_integers
from edgernn.export.proof.runs import Arrays, Run, batch_of, draw, in_parts, session_of
from edgernn.parts import BATCH_OUTER, SEQUENCE_OUTER
from edgernn.report import Check, ParityReport
from edgernn.sizes import resolve

__all__ = ["TOLERANCE", "Prover"]

TOLERANCE = 1e-5
DRIFT_STEPS = 1000

_SIZES = ((1, 1), (2, 3), (3, 1), (1, 9), (4, 6), (2, 17), (5, 2), (3, 8))
_STEPPED = ((1, 1), (2, 7), (3, 5))

Where = tuple[int, int, str]
"""Batch, sequence and what the initial state is."""


@dataclass(frozen=True)
class Prover:
    """Compares graphs with an eager reference.

    Attributes:
        contract: The contract of the graphs; always with a sequence graph's ports.
        eager: The reference.
        examples: Name of a data input → an array of plausible values, for inputs that cannot be
            drawn at random.
        sizes: Sizes of further dynamic axes.
        traced: The (batch, sequence) that was traced.
        lengths: Name of an input that holds the lengths of sequences → whether the reference wants
            the longest first.
        tolerance: The largest difference that passes.
        constants: The sizes of `batch` and `sequence` where the graphs take one only.
        apart: Further sizes at which whole runs are compared: name of an axis → its size.
    """

    contract: Contract
    eager: Reference
    examples: Mapping[str, NDArray[Any]]
    sizes: Mapping[str, int]
    traced: tuple[int, int]
    lengths: Mapping[str, bool] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    constants: Mapping[str, int] = field(default_factory=dict)
    apart: Sequence[Mapping[str, int]] = ()
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def not_carried(self) -> str | None:
        """Return why eager torch itself cannot go on from a state, or None where it can.

        A model whose outputs depend on the past alone gives the same whole or in parts; one that
        looks ahead, or at all steps together, does not.
        """
        batch, sequence = self._batch(2), self.contract.within(SEQUENCE, 6)
        data, states = self._draw(batch, sequence), self._random_states(batch)
        try:
            whole = self._eager(data, states)
            for lengths in (_chunks(self.rng, sequence), [1] * sequence):
                parts = self._in_parts(self._eager, data, states, lengths)
                port, difference = worst(whole, parts)
                if difference > 10 * TOLERANCE:
                    return (
                        f"its state cannot be carried on: in parts, {self.eager.name} "
                        f"gives another `{port}` than whole ({gap_at(port, whole, parts)}), so "
                        f"`{port}` depends on more than the steps so far."
                    )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            return f"its state cannot be carried on: forward fails on single steps ({reason})."
        return None

    def outer_axes(self) -> dict[str, str]:
        """Return which of batch and sequence is the outer one where an output counts both in one.

        Returns:
            Name of such an output → its axis, the outer one first.
        """
        flat = {
            port.name: axis
            for port in self.contract.data_outputs("sequence")
            for axis, size in enumerate(port.shape)
            if size in (BATCH_OUTER, SEQUENCE_OUTER)
        }
        if not flat:
            return {}
        data, states = self._draw(2, 3), self._random_states(2)
        whole, _ = self._eager(data, states)
        first, _ = self._eager(*self._first_sequence(data, states))
        return {
            name: BATCH_OUTER
            if np.allclose(whole[name].take(range(3), axis), first[name], atol=TOLERANCE)
            else SEQUENCE_OUTER
            for name, axis in flat.items()
        }

    def report(self, graphs: Mapping[str, str], reference: str, dialect: Dialect) -> ParityReport:
        """Run every check.

        Args:
            graphs: `sequence` and, where there is one, `step` → the file.
            reference: What the graphs are compared with, in a few words.
            dialect: From the reference's ports to those of the graphs.

        Raises:
            ParityError: A difference is above the tolerance or a shape is not the declared one.
        """
        for kind, graph in graphs.items():
            check_integers(kind, graph)
        runs = {
            kind: dialect.run(session_of(kind, dialect.written, graph))
            for kind, graph in graphs.items()
        }
        with one_thread():
            try:
                return ParityReport(reference, self.tolerance, tuple(self._checks(runs)))
            except _DisagreementError as error:
                where = self._blame(graphs["sequence"], dialect, error) if error.whole else ""
                raise ParityError(f"{error} {where}".strip()) from None

    def check_constants(self) -> None:
        """Refuse constant sizes at which the reference itself fails.

        Raises:
            InputError: It fails.
        """
        if not self.constants:
            return
        sequence = self.constants.get(SEQUENCE, self.traced[1])
        try:
            self._eager(self._draw(self._batch(self.traced[0]), sequence), None)
        except Exception as error:
            sizes = ", ".join(f"`{axis}` {size}" for axis, size in self.constants.items())
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise InputError(
                f"{self.eager.name} itself fails at {sizes}: {reason}. Give another size."
            ) from error

    def golden(self, batch: int, sequence: int) -> Arrays:
        """Record a run of eager torch from a random state, by the sequence graph's port names.

        A model that takes no sequences of that length is recorded at the traced one. Where the
        sequence graph takes a number of steps only, there are twice as many, or as many where the
        state cannot be carried from one call to the next.
        """
        batch = self._batch(batch)
        states = self._random_states(batch)
        sequence = self.constants.get(SEQUENCE, 0) * (1 + self.contract.carry) or sequence
        sequence = self.contract.within(SEQUENCE, sequence)
        try:
            data = self._draw(batch, sequence)
            outputs, finals = self._eager(data, states)
        except Exception:
            data = self._draw(batch, self.traced[1])
            outputs, finals = self._eager(data, states)
        recorded = {**data, **outputs}
        for state in self.contract.states:
            recorded[state.input] = states[state.name]
            recorded[state.output] = finals[state.name]
        return recorded

    def _checks(self, runs: Mapping[str, Run]) -> Iterator[Check]:
        if "sequence" in runs:
            yield from self._wholes(runs["sequence"])
        if not self.contract.carry:
            return
        stepped = ((self._batch(b), self.contract.within(SEQUENCE, t)) for b, t in _STEPPED)
        for batch, sequence in dict.fromkeys(stepped):
            for kind in runs:
                yield self._parts(kind, runs[kind], batch, self._whole_calls(kind, sequence))
        kind = "step" if "step" in runs else "sequence"
        steps = self._whole_calls(kind, self.contract.within(SEQUENCE, DRIFT_STEPS))
        yield self._parts(kind, runs[kind], self._batch(1), steps, "drift")

    def _whole_calls(self, kind: str, steps: int) -> int:
        """Return the next number of steps that calls of graph `kind` can make up, at least two."""
        size = self.constants.get(SEQUENCE) if kind == "sequence" else None
        return steps if size is None else max(2, -(-steps // size)) * size

    def _wholes(self, run: Run) -> Iterator[Check]:
        for batch, sequence in self._valid_sizes():
            data = self._draw(batch, sequence, uneven=True)
            yield self._whole(run, data, None, (batch, sequence, self._initial()))
            if self.contract.states:
                states = self._random_states(batch)
                yield self._whole(run, data, states, (batch, sequence, "random"))

    def _whole(self, run: Run, data: Arrays, states: Arrays | None, where: Where) -> Check:
        start = self._start(where[0])
        expected = self._eager(data, states)
        got = run(data, start if states is None else states)
        self._compare_shapes(got[0], where)
        return self._check("whole", "sequence", where, expected, got, data, states)

    def _parts(self, kind: str, run: Run, batch: int, sequence: int, name: str = "") -> Check:
        """Compare a run in parts, the state carried on from each to the next, with a whole one."""
        data, states = self._draw(batch, sequence), self._random_states(batch)
        stepwise = kind == "step"
        size = 1 if stepwise else self.constants.get(SEQUENCE)
        lengths = [size] * (sequence // size) if size else _chunks(self.rng, sequence)
        expected = self._eager(data, states)
        got = self._in_parts(run, data, states, lengths, stepwise)
        name = name or ("steps" if stepwise else "chunks")
        return self._check(name, kind, (batch, sequence, "random"), expected, got, data, states)

    def _check(
        self,
        name: str,
        kind: str,
        where: Where,
        expected: tuple[Arrays, Arrays],
        got: tuple[Arrays, Arrays],
        data: Arrays,
        states: Arrays | None,
    ) -> Check:
        port, difference = worst(expected, got)
        tolerance = None
        if not difference <= self.tolerance:
            tolerance = 2 * self._rounding(data, states, expected) + self.tolerance
            if not difference <= tolerance:
                gap = gap_at(port, expected, got)
                allowed = f" (at most {tolerance:.1e} is allowed)" if gap.startswith("by ") else ""
                raise _DisagreementError(
                    f"The {kind} graph does not agree with {self.eager.name}: `{port}` differs "
                    f"{gap}{allowed} at batch {where[0]}, "
                    f"sequence {where[1]}, {where[2]} initial state, run {_HOW[name]}.",
                    name == "whole",
                    data,
                    self._start(where[0]) if states is None else states,
                )
        return Check(name, kind, *where, difference, tolerance)

    def _rounding(
        self, data: Arrays, states: Arrays | None, expected: tuple[Arrays, Arrays]
    ) -> float:
        """Return what float32 itself costs eager torch; 0 where forward does not run in float64."""
        try:
            exact = self._eager(data, states, self.eager.double())
        except Exception:
            return 0.0
        return worst(exact, expected)[1]

    def _eager(
        self, data: Arrays, states: Arrays | None, eager: Reference | None = None
    ) -> tuple[Arrays, Arrays]:
        """Run the reference on data by port name; `states` None leaves forward undisturbed."""
        if states is None and self.eager.takes_states:
            states = self._start(batch_of(self.contract, data, self.traced[0]))
        origins = {port.name: port.origin or "" for port in self.contract.data_inputs("sequence")}
        outcome = (eager or self.eager)(
            {origins[name]: array for name, array in data.items()}, states
        )
        outputs = {
            port.name: outcome.outputs[port.origin or ""]
            for port in self.contract.data_outputs("sequence")
        }
        return outputs, outcome.states

    def _blame(self, graph: str, dialect: Dialect, error: _DisagreementError) -> str:
        origins = {port.name: port.origin or "" for port in self.contract.data_inputs("sequence")}
        paths = {origins[name]: array for name, array in error.data.items()}
        layers = self.eager(paths, error.states).layers
        return first_difference(graph, dialect, error.data, error.states, layers, self.tolerance)

    def _compare_shapes(self, outputs: Arrays, where: Where) -> None:
        symbols = {**self.sizes, BATCH: where[0], SEQUENCE: where[1]}
        for port in self.contract.data_outputs("sequence"):
            declared = resolve(port.shape, symbols)
            if declared is not None and outputs[port.name].shape != declared:
                raise ParityError(
                    f"`{port}` came out as {outputs[port.name].shape} at batch {where[0]}, "
                    f"sequence {where[1]}, where {declared} was declared. Where forward squeezes "
                    "or flattens, let it name the axis."
                )

    def _valid_sizes(self) -> list[tuple[int, int]]:
        """Return the sizes that eager torch takes and has numbers for, the traced one first."""
        graph = self.contract.graphs["sequence"]
        only = self.constants.get(SEQUENCE)
        if not any(SEQUENCE in port.shape for port in graph.inputs):
            only = self.traced[1]
        wanted = [self.traced, *self._edges(), *_SIZES]
        wanted += [(b, t + self.traced[1]) for b, t in _SIZES]
        sizes = [(self._batch(b), only or self.contract.within(SEQUENCE, t)) for b, t in wanted]
        valid: list[tuple[int, int]] = []
        for batch, sequence in dict.fromkeys(sizes):
            try:
                outputs, _ = self._eager(self._draw(batch, sequence), None)
            except Exception:
                continue
            if valid and any(np.isnan(array).any() for array in outputs.values()):
                continue  # such as a norm over a single step
            if self._less_than_none(batch, sequence):
                continue  # such as windows of more steps than there are
            valid.append((batch, sequence))
        return valid[: len(_SIZES) + 1 + len(self._edges())]

    def _edges(self) -> list[tuple[int, int]]:
        """Return the sizes at the bounds, and those within that torch treats apart."""
        bounds = [*self.contract.most.items(), *self.contract.least.items()]
        sizes = [*({axis: size} for axis, size in bounds), *self.apart]
        return [(one.get(BATCH, 2), one.get(SEQUENCE, 3)) for one in sizes]

    def _less_than_none(self, batch: int, sequence: int) -> bool:
        """Return whether an output is declared with a negative size."""
        symbols = {**self.sizes, BATCH: batch, SEQUENCE: sequence}
        ports = self.contract.data_outputs("sequence")
        declared = [resolve(port.shape, symbols) or () for port in ports]
        return any(size < 0 for shape in declared for size in shape)

    def _batch(self, batch: int) -> int:
        """Return `batch`, or the constant one."""
        graph = self.contract.graphs["sequence"]
        dynamic = any(BATCH in port.shape for port in graph.inputs)
        batch = self.contract.within(BATCH, batch)
        return self.constants.get(BATCH, batch) if dynamic else self.traced[0]

    def _first_sequence(self, data: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        graph = self.contract.graphs["sequence"]
        inputs = {state.name: graph.input(state.input) for state in self.contract.states}
        inputs |= {port.name: port for port in self.contract.data_inputs("sequence")}

        def first(arrays: Arrays) -> Arrays:
            axes = {name: inputs[name].axis(BATCH) for name in arrays}
            return {
                name: array if (axis := axes[name]) is None else array.take([0], axis)
                for name, array in arrays.items()
            }

        return first(data), first(states)

    def _initial(self) -> str:
        learned = any(state.initial is not None for state in self.contract.states)
        return "learned" if learned else "zero"

    def _random_states(self, batch: int) -> Arrays:
        return {
            name: self.rng.standard_normal(array.shape).astype(array.dtype) / 2
            for name, array in self._start(batch).items()
        }

    def _start(self, batch: int) -> Arrays:
        return {state.name: self.contract.initial(state, batch) for state in self.contract.states}

    def _in_parts(
        self,
        run: Run,
        data: Arrays,
        states: Arrays,
        lengths: Sequence[int],
        stepwise: bool = False,
    ) -> tuple[Arrays, Arrays]:
        return in_parts(self.contract, run, data, states, lengths, stepwise, self.lengths)

    def _draw(self, batch: int, sequence: int, uneven: bool = False) -> Arrays:
        """Return data; `uneven` gives sequences of different lengths where the model takes them."""
        symbols = {**self.sizes, BATCH: batch, SEQUENCE: sequence}
        data = {
            port.name: draw(port, symbols, self.rng, self.examples[port.name])
            for port in self.contract.data_inputs("sequence")
        }
        for name, longest_first in self.lengths.items():
            lengths = np.full_like(data[name], sequence)
            if uneven:
                lengths[:] = self.rng.integers(1, sequence + 1, lengths.shape)
                lengths[self.rng.integers(batch)] = sequence
            data[name] = -np.sort(-lengths) if longest_first else lengths
        return data


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
}


def _chunks(rng: np.random.Generator, steps: int) -> list[int]:
    """Cut `steps` into chunks of random lengths."""
    count = min(steps - 1, 6)
    cuts = sorted(rng.choice(np.arange(1, steps), count, replace=False)) if count else []
    return [int(length) for length in np.diff([0, *cuts, steps])]
