"""Measurements of an artifact: parity with its reference, and cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.facts import Facts, ShownAsFacts
from edgernn.json_field import JsonField

__all__ = [
    "Check",
    "Cost",
    "Fold",
    "ParityReport",
    "largest_difference",
    "largest_magnitude",
    "scaled_difference",
]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Check:
    """One comparison of a graph with its reference.

    Attributes:
        name: What was compared: `whole`, `steps`, `chunks`, `drift`, …
        graph: `sequence` or `step`.
        batch: The number of sequences.
        sequence: The number of steps of each.
        initial: The initial state: `zero`, `learned`, `random`, or `reached`, the
            final state of a run over random data.
        difference: The largest absolute difference over all outputs and final states, relative
            to the scale of the numbers that differ where that is above 1.
        tolerance: The tolerance of this check, where rounding in float32 exceeds the report's, as
            measured against float64; None otherwise.
        form: The name of the form that ran in place of the graph; empty for the graph itself.
    """

    name: str
    graph: str
    batch: int
    sequence: int
    initial: str
    difference: float
    tolerance: float | None = None
    form: str = ""

    def __str__(self) -> str:
        return (
            f"{self.name:<7} {(self.form or self.graph) + '.onnx':<14} batch {self.batch}, "
            f"sequence {self.sequence}, {self.initial} initial state: {self.difference:.1e}"
        )


@dataclass(frozen=True, repr=False)
class ParityReport(ShownAsFacts):
    """All comparisons of one artifact's graphs with their reference.

    Attributes:
        reference: What they were compared with, in one line.
        tolerance: The largest difference that passes.
        checks: The comparisons in the order in which they ran.
    """

    reference: str
    tolerance: float
    checks: tuple[Check, ...]

    def _facts(self) -> tuple[str, Facts]:
        verdict = "passed" if self.passed else "failed" if self.checks else "nothing was compared"
        facts = [("parity", str(self)), ("tolerance", f"{self.tolerance:.1e}")]
        if self.checks:
            worst = max(self.checks, key=lambda one: (not one.difference >= 0, one.difference))
            facts.append(("worst", " ".join(str(self.first_failure or worst).split())))
        return f"Parity with {self.reference}: {verdict}", facts

    @property
    def max_difference(self) -> float:
        """The largest difference of all checks; NaN if one of them is."""
        differences = [check.difference for check in self.checks]
        return math.nan if any(map(math.isnan, differences)) else max(differences, default=0.0)

    @property
    def passed(self) -> bool:
        """Whether there was a check and every one is within the tolerance."""
        return bool(self.checks) and self.first_failure is None

    @property
    def first_failure(self) -> Check | None:
        """The first check that exceeds its tolerance, or None."""
        return next((one for one in self.checks if not one.difference <= self.allowed(one)), None)

    def allowed(self, check: Check) -> float:
        """Return the largest difference that passes in `check`."""
        return self.tolerance if check.tolerance is None else check.tolerance

    def __str__(self) -> str:
        sizes = {(check.batch, check.sequence) for check in self.checks}
        return (
            f"max difference {self.max_difference:.1e} to {self.reference} "
            f"over {len(self.checks)} checks at {len(sizes)} sizes"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {**asdict(self), "checks": [_check_to_json(check) for check in self.checks]}

    @classmethod
    def from_json(cls, data: JsonField) -> ParityReport:
        """Read what `to_json` returned.

        Raises:
            ContractError: It is not a report.
        """
        checks = tuple(_check_from_json(check) for check in data["checks"].items())
        return cls(data["reference"].text(), data["tolerance"].real(), checks)


@dataclass(frozen=True)
class Cost:
    """The size of a model, and what one time step of one sequence costs.

    Attributes:
        parameters: Floating-point weights in the sequence graph (torch's own count for layers).
        multiply_adds: Multiply-add pairs per step.
        weight_bytes: Bytes of weights that one step reads.
        state_bytes: Bytes of state of one sequence.
    """

    parameters: int
    multiply_adds: int
    weight_bytes: int
    state_bytes: int

    @classmethod
    def from_json(cls, data: JsonField) -> Cost:
        """Read the object of the fields.

        Raises:
            ContractError: It is not a cost.
        """
        return cls(*(data[field.name].count() for field in fields(cls)))


@dataclass(frozen=True)
class Fold:
    """An embedding that is, or can be, folded into the product that multiplies it.

    Attributes:
        embedding: The name of its weights.
        entries: The number of its ids.
        outputs: The outputs of the product.
        more_bytes: How much larger folding makes the graph; below 0 where it makes it smaller.
        multiply_adds: The multiply-adds that folding saves in each step.
        folded: Whether it is folded.
    """

    embedding: str
    entries: int
    outputs: int
    more_bytes: int
    multiply_adds: int
    folded: bool

    def __str__(self) -> str:
        size = f"{abs(self.more_bytes):,} bytes {'more' if self.more_bytes >= 0 else 'fewer'}"
        gain = f"{self.multiply_adds:,} multiply-adds fewer per step"
        table = f"a table of {self.entries:,} × {self.outputs:,}"
        if self.folded:
            return f"`{self.embedding}` is folded into {table}: {size}, {gain}"
        return f"`{self.embedding}` is not folded; {table} would take {size}, {gain}"

    @classmethod
    def from_json(cls, data: JsonField) -> Fold:
        """Read the object of the fields.

        Raises:
            ContractError: It is not one.
        """
        return cls(
            embedding=data["embedding"].text(),
            entries=data["entries"].count(),
            outputs=data["outputs"].count(),
            more_bytes=data["more_bytes"].integer(),
            multiply_adds=data["multiply_adds"].count(),
            folded=data["folded"].flag(),
        )


def _check_to_json(check: Check) -> dict[str, Any]:
    fields = asdict(check)
    return fields if check.form else {key: fields[key] for key in fields if key != "form"}


def _check_from_json(data: JsonField) -> Check:
    tolerance, form = data.get("tolerance"), data.get("form")
    return Check(
        name=data["name"].text(),
        graph=data["graph"].one_of(("sequence", "step")),
        batch=data["batch"].count(),
        sequence=data["sequence"].count(),
        initial=data["initial"].text(),
        difference=data["difference"].real(),
        tolerance=tolerance.optional(JsonField.real) if tolerance else None,
        form=form.text() if form else "",
    )


def scaled_difference(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest absolute difference, divided by the largest magnitude where above 1.

    It is infinite where the shapes differ, where either array has a NaN, or where one has an
    infinity that the other does not have.
    """
    return largest_difference(got, expected) / max(1.0, largest_magnitude(expected))


def largest_difference(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest absolute difference; infinite where `scaled_difference` is."""
    if got.shape != expected.shape:
        return math.inf
    largest = 0.0
    for one, other in zip(_blocks(got), _blocks(expected), strict=True):
        with np.errstate(invalid="ignore"):
            apart = np.abs(one - other)[one != other]  # equal infinities are no difference
        if not np.isfinite(apart).all():
            return math.inf
        largest = max(largest, float(apart.max(initial=0.0)))
    return largest


def largest_magnitude(array: NDArray[Any]) -> float:
    """Return the largest finite absolute value."""
    largest = (np.abs(one[np.isfinite(one)]).max(initial=0.0) for one in _blocks(array))
    return float(max(largest, default=0.0))


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Yield the values in float64 in blocks, so that no full copy is made."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(np.float64)
