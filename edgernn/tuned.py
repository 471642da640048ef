"""What `edgernn tune` measured and chose, as `contract.json` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgernn.forms import Form
from edgernn.json_field import MAX_SIZE, JsonField

__all__ = ["Trial", "Tuned", "Tuning"]

_MOST = 1 << 16


@dataclass(frozen=True)
class Trial:
    """One way to run a graph, measured at one size.

    Attributes:
        graph: `sequence` or `step`.
        file: The file that ran, in the artifact's folder.
        threads: The number of threads; None for as many as the portable graph has.
        batch: The number of sequences.
        steps: The number of steps of one call.
        seconds: The median time of a call.
        ratio: This time in times of that of the portable graph, measured by turns.
        error: The largest difference from the recorded run of the model.
        chosen: Whether it is the way that runs at this size.
        tolerance: The largest error that passes, where that is not the artifact's own.
    """

    graph: str
    file: str
    threads: int | None
    batch: int
    steps: int
    seconds: float
    ratio: float
    error: float
    chosen: bool = False
    tolerance: float | None = None

    @property
    def form(self) -> str:
        """The name of the file without folder and extension."""
        return self.file.rpartition("/")[2].removesuffix(".onnx")

    @classmethod
    def from_json(cls, data: JsonField) -> Trial:
        """Read the object of the fields.

        Raises:
            ContractError: It is not one.
        """
        return cls(
            graph=data["graph"].one_of(("sequence", "step")),
            file=data["file"].text(),
            threads=data["threads"].optional(lambda threads: threads.count(1, _MOST)),
            batch=data["batch"].count(1, MAX_SIZE),
            steps=data["steps"].count(1, MAX_SIZE),
            seconds=data["seconds"].real(),
            ratio=data["ratio"].real(),
            error=data["error"].real(),
            chosen=data["chosen"].flag(),
            tolerance=data["tolerance"].optional(JsonField.real),
        )


@dataclass(frozen=True)
class Tuning:
    """What was measured and chosen for one provider.

    Attributes:
        provider: Its name.
        machine: The machine that it was measured on.
        versions: Name of a package → its version there.
        forms: What was chosen; they come before those of the rules.
        trials: What was measured.
    """

    provider: str
    machine: str
    versions: Mapping[str, str]
    forms: tuple[Form, ...]
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        runtime = ", ".join(
            f"{name} {text}"
            for name, text in self.versions.items()
            if name.startswith("onnxruntime")
        )
        return f"for {self.provider} on {self.machine}{f', {runtime}' if runtime else ''}"

    @classmethod
    def from_json(cls, data: JsonField) -> Tuning:
        """Read the object of the fields.

        Raises:
            ContractError: It is not one.
        """
        return cls(
            provider=data["provider"].text(),
            machine=data["machine"].text(),
            versions={name: text.text() for name, text in data["versions"].entries().items()},
            forms=tuple(map(Form.from_json, data["forms"].items(_MOST))),
            trials=tuple(map(Trial.from_json, data["trials"].items(_MOST))),
        )


@dataclass(frozen=True)
class Tuned:
    """All tunings of an artifact.

    Attributes:
        rules: The forms that the export wrote, by its rules.
        tunings: What was chosen for each provider.
    """

    rules: tuple[Form, ...]
    tunings: tuple[Tuning, ...]

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms of the artifact in their order."""
        return (*(form for one in self.tunings for form in one.forms), *self.rules)

    def tolerance_of(self, file: str) -> float:
        """Return the largest error that a chosen file may have beyond the artifact's own, or 0."""
        trials = (trial for one in self.tunings for trial in one.trials)
        own = (one.tolerance or 0.0 for one in trials if one.chosen and one.file == file)
        return max(own, default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return the tunings as a JSON object."""
        return {
            "rules": [form.to_json() for form in self.rules],
            "tunings": [
                {
                    **asdict(one),
                    "versions": dict(one.versions),
                    "forms": [form.to_json() for form in one.forms],
                    "trials": [asdict(trial) for trial in one.trials],
                }
                for one in self.tunings
            ],
        }

    @classmethod
    def from_json(cls, data: JsonField) -> Tuned:
        """Read what `to_json` returned.

        Raises:
            ContractError: It is not that.
        """
        return cls(
            rules=tuple(map(Form.from_json, data["rules"].items(_MOST))),
            tunings=tuple(map(Tuning.from_json, data["tunings"].items(_MOST))),
        )
