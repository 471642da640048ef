"""What the precision of an artifact means: how every weight is stored, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgernn.facts import Facts
from edgernn.json_field import JsonField

__all__ = ["COLUMNS", "Calibration", "ChainedRun", "Measure", "PrecisionReport", "StoredWeight"]


COLUMNS = ("weight", "read by", "shape", "stored as", "why not quantized")
"""The columns of a table of weights."""


@dataclass(frozen=True)
class StoredWeight:
    """One weight of a graph, as it is stored.

    Attributes:
        name: The name of the weight, which begins with that of its layer where that is known.
        operator: The operator that reads it.
        shape: Its shape as the operator reads it.
        format: How its numbers are stored: `int8`, `int4 in blocks of 32`, `float32`.
        bytes: The bytes of its numbers, with their scales and zero points.
        reason: Why it is not quantized; empty where it is.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    format: str
    bytes: int
    reason: str = ""

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """The cells of a table that has `COLUMNS`."""
        shape = " × ".join(map(str, self.shape))
        return self.name, self.operator, shape, self.format, self.reason

    @classmethod
    def from_json(cls, data: JsonField) -> StoredWeight:
        """Read the object of the fields.

        Raises:
            ContractError: It is not a weight.
        """
        return cls(
            name=data["name"].text(),
            operator=data["operator"].text(),
            shape=tuple(size.count() for size in data["shape"].items()),
            format=data["format"].text(),
            bytes=data["bytes"].count(),
            reason=data["reason"].text(),
        )


@dataclass(frozen=True)
class ChainedRun:
    """A run over many steps, each from the states of the step before.

    Attributes:
        graph: `sequence` or `step`.
        steps: The number of steps.
        difference: The largest difference from the reference in float32, as in the parity report.
    """

    graph: str
    steps: int
    difference: float

    def __str__(self) -> str:
        return f"{self.difference:.1e} over {self.steps:,} steps of {self.graph}.onnx"

    @classmethod
    def from_json(cls, data: JsonField) -> ChainedRun:
        """Read the object of the fields.

        Raises:
            ContractError: It is not a run.
        """
        graph = data["graph"].one_of(("sequence", "step"))
        return cls(graph, data["steps"].count(), data["difference"].real())


@dataclass(frozen=True)
class Measure:
    """A measure of a model's quality on data, before and after the export.

    Attributes:
        name: `perplexity`, `accuracy` or `error`.
        before: Its value for the model in float32.
        after: Its value for the exported graph.
    """

    name: str
    before: float
    after: float

    def __str__(self) -> str:
        return f"{self.name} {_short(self.before)} before, {_short(self.after)} after"

    @classmethod
    def from_json(cls, data: JsonField) -> Measure:
        """Read the object of the fields.

        Raises:
            ContractError: It is not a measure.
        """
        return cls(data["name"].text(), data["before"].real(), data["after"].real())


@dataclass(frozen=True)
class Calibration:
    """The quality of a model on the user's data, before and after the export.

    Attributes:
        source: The name of the file, or `arrays`.
        graph: The graph that ran: `step`, each step from the states before it, or `sequence`.
        sequences: The number of sequences.
        steps: The number of steps of each.
        measures: What was measured; the first one counts.
        loss: By how much the first measure is worse, in percent of its value before. For `error`
            without expected outputs, the difference in percent of the outputs.
    """

    source: str
    graph: str
    sequences: int
    steps: int
    measures: tuple[Measure, ...]
    loss: float

    def __str__(self) -> str:
        counted = (
            f"{self.sequences} × {self.steps:,} steps"
            if self.sequences > 1
            else (f"{self.steps:,} steps")
        )
        measures = "; ".join(map(str, self.measures))
        loss = round(self.loss, 2) + 0.0  # no negative zero
        return f"{measures}: a loss of {loss:.2f} % on {self.source}, {counted}"

    @classmethod
    def from_json(cls, data: JsonField) -> Calibration:
        """Read the object of the fields.

        Raises:
            ContractError: It is not a calibration.
        """
        return cls(
            source=data["source"].text(),
            graph=data["graph"].one_of(("sequence", "step")),
            sequences=data["sequences"].count(1),
            steps=data["steps"].count(1),
            measures=tuple(map(Measure.from_json, data["measures"].items())),
            loss=data["loss"].real(-math.inf),
        )


@dataclass(frozen=True)
class PrecisionReport:
    """The weights of an artifact's graphs, and what their precision costs.

    Attributes:
        precision: `float32`, `float16`, `int8` or `int4`.
        weights: `sequence` and `step`, where there is one → the weights of the graph.
        chained: The longest runs of the parity check; empty for an export without it.
        calibration: The quality on the user's data; None where none were given.
    """

    precision: str
    weights: Mapping[str, tuple[StoredWeight, ...]] = field(default_factory=dict)
    chained: tuple[ChainedRun, ...] = ()
    calibration: Calibration | None = None

    @property
    def has_reasons(self) -> bool:
        """Whether some weight is not quantized, for a reason."""
        return any(one.reason for weights in self.weights.values() for one in weights)

    @property
    def facts(self) -> Facts:
        """What a summary says of it."""
        facts = [("precision", self.precision)]
        facts += [("chained", str(run)) for run in self.chained]
        if self.calibration is not None:
            facts.append(("data", str(self.calibration)))
        return facts

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: JsonField) -> PrecisionReport:
        """Read what `to_json` returned.

        Raises:
            ContractError: It is not a report.
        """
        return cls(
            precision=data["precision"].text(),
            weights={
                kind: tuple(map(StoredWeight.from_json, weights.items()))
                for kind, weights in data["weights"].entries().items()
            },
            chained=tuple(map(ChainedRun.from_json, data["chained"].items())),
            calibration=data["calibration"].optional(Calibration.from_json),
        )


def _short(value: float) -> str:
    return f"{value:.4g}"
