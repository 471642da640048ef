"""The folder that `edgernn export` writes: graphs, golden run, contract.json, README.md."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgernn.contract import Contract
from edgernn.errors import ContractError
from edgernn.facts import Facts, ShownAsFacts, contract_facts, graph_sizes, parity_line
from edgernn.forms import Form, forms_from_json, is_form_file
from edgernn.json_field import JsonField, unreadable_contract
from edgernn.layer import Layer
from edgernn.precision_report import PrecisionReport
from edgernn.regular_files import MEGABYTE, read_text, regular_file_size
from edgernn.report import Cost, Fold, ParityReport
from edgernn.strict_json import parse_json
from edgernn.tolerances import TOLERANCE
from edgernn.tuned import Tuned
from edgernn.untrusted_text import quote

__all__ = ["CONTRACT_FILE", "Artifact"]

CONTRACT_FILE = "contract.json"
_MAX_BYTES = 64 * MEGABYTE
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, repr=False)
class Artifact(ShownAsFacts):
    """An exported model on disk.

    Attributes:
        path: The folder.
        contract: What its graphs promise.
        parity: The parity check, or None for an export without one.
        cost: The cost of one step.
        refusals: Name of a runtime that refuses or misreads a graph → why.
        digests: Name of a file → its SHA-256, in hexadecimal.
        layers: The layers with weights in the order in which they run; None where not known.
        tolerance: The largest difference from the golden run that passes, for the precision of
            the graphs.
        precision: How the weights are stored and what that costs; None for float32 without data of
            the user's.
        forms: Graphs that run in place of the portable ones; the first that applies to the
            provider and the sizes of a call does.
        folds: The embeddings of the step graph that are folded into a product, or could be.
        tuned: What `edgernn tune` measured and chose; None where it did not run. `forms` is then
            `tuned.forms`.
    """

    path: Path
    contract: Contract
    parity: ParityReport | None
    cost: Cost
    refusals: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Layer, ...] | None = None
    tolerance: float = TOLERANCE
    precision: PrecisionReport | None = None
    forms: tuple[Form, ...] = ()
    folds: tuple[Fold, ...] = ()
    tuned: Tuned | None = None

    def _facts(self) -> tuple[str, Facts]:
        return f"Artifact {self.path}", [
            ("source", self.contract.source),
            ("graphs", graph_sizes(self.path, self.contract)),
            *(("form", str(form)) for form in self.forms),
            *(("tuned", str(one)) for one in (self.tuned.tunings if self.tuned else ())),
            *contract_facts(self.contract),
            ("parity", parity_line(self.parity)),
            *(self.precision.facts if self.precision else ()),
            *(("note", note) for note in self.contract.notes),
        ]

    @property
    def sequence(self) -> Path | None:
        """The sequence graph, or None where there is none."""
        return self.path / "sequence.onnx" if self.contract.sequence else None

    @property
    def step(self) -> Path | None:
        """The step graph, or None where there is none."""
        return self.path / "step.onnx" if self.contract.step else None

    @property
    def golden(self) -> Path:
        """The folder of the golden run: one `PORT.npy` per port of the sequence graph.

        Without a sequence graph, the arrays have the shapes of the step graph's ports with a
        leading axis of steps.
        """
        return self.path / "golden"

    @classmethod
    def open(cls, path: str | Path) -> Artifact:
        """Read the artifact in folder `path`; its graphs are checked when they are loaded.

        Raises:
            ContractError: The folder is not an artifact, or one of another version.
        """
        path = Path(path)
        subject = f"`{path}`"
        data = _contract_file(path)
        contract = Contract.from_json(data, subject)
        whole = JsonField(subject, "", data)
        digests = {name: digest.text() for name, digest in whole["sha256"].entries().items()}
        for name, digest in digests.items():
            if not (_is_file_name(name) or is_form_file(name)) or not _DIGEST.fullmatch(digest):
                raise unreadable_contract(
                    subject,
                    f"`sha256` has {quote(digest)} for {quote(name)}; expected a digest of 64 "
                    "hexadecimal digits for a file of the folder itself",
                )
        forms = forms_from_json(whole)
        for form in forms:
            if form.graph not in contract.graphs:
                raise unreadable_contract(
                    subject, f"form `{form.file}` is of the {form.graph} graph, which it has not"
                )
        for file in (*(f"{kind}.onnx" for kind in contract.graphs), *(one.file for one in forms)):
            whole["sha256"][file].text()
        parity = whole["parity"].optional(ParityReport.from_json)
        tolerance = parity.tolerance if parity else TOLERANCE
        if (recorded := whole.get("tolerance")) is not None:
            tolerance = recorded.real()
        layers, folds = whole.get("layers"), whole.get("folds")
        precision = whole.get("precision")
        tuned = None if (field_ := whole.get("tuned")) is None else Tuned.from_json(field_)
        if tuned is not None and tuned.forms != forms:
            raise unreadable_contract(subject, "`forms` are not those that were tuned")
        return cls(
            path=path,
            contract=contract,
            parity=parity,
            cost=Cost.from_json(whole["cost"]),
            refusals={runtime: why.text() for runtime, why in whole["refusals"].entries().items()},
            digests=digests,
            layers=None if layers is None else tuple(map(Layer.from_json, layers.items())),
            tolerance=tolerance,
            precision=None if precision is None else PrecisionReport.from_json(precision),
            forms=forms,
            folds=() if folds is None else tuple(map(Fold.from_json, folds.items())),
            tuned=tuned,
        )

    def checked(self, kind: str) -> Path:
        """Return the file of graph `kind`, after its digest was compared with the contract's.

        Args:
            kind: `sequence` or `step`.

        Raises:
            ContractError: There is no such graph, or the file is missing, changed or another
                artifact's, or the folder was exported again.
        """
        if kind not in self.contract.graphs:
            no_step = self.contract.no_step if kind == "step" else ""
            reason = f": {no_step}" if no_step else "."
            raise ContractError(f"`{self.path}` has no {kind} graph{reason}")
        return self._checked(f"{kind}.onnx", *self._external_data())

    def checked_form(self, form: Form) -> Path:
        """Return the file of one of `forms`, after its digest was compared with the contract's.

        Raises:
            ContractError: The file is missing, changed or another artifact's, or the folder was
                exported again.
        """
        own = not is_form_file(form.file)
        return self.checked(form.graph) if own else self._checked(form.file)

    def tolerance_of(self, form: Form) -> float:
        """Return the largest difference that passes for a form: one that was tuned may have more.

        A tuning with a tolerance of its own takes forms of a lower precision.
        """
        return max(self.tolerance, self.tuned.tolerance_of(form.file) if self.tuned else 0.0)

    def _checked(self, file: str, *others: str) -> Path:
        """Return the path of a file, after its digest and those of `others` were compared."""
        try:
            for name in (file, *others):
                self._check_digest(name)
        except ContractError:
            self._check_same()
            raise
        return self.path / file

    def to_json(self) -> dict[str, Any]:
        """Return the content of `contract.json`."""
        layers = None if self.layers is None else [layer.to_json() for layer in self.layers]
        return {
            **self.contract.to_json(),
            **({} if layers is None else {"layers": layers}),
            "parity": self.parity.to_json() if self.parity else None,
            "tolerance": self.tolerance,
            **({} if self.precision is None else {"precision": self.precision.to_json()}),
            **({"forms": [form.to_json() for form in self.forms]} if self.forms else {}),
            **({} if self.tuned is None else {"tuned": self.tuned.to_json()}),
            "cost": asdict(self.cost),
            **({"folds": [asdict(fold) for fold in self.folds]} if self.folds else {}),
            "refusals": dict(self.refusals),
            "sha256": dict(self.digests),
        }

    def _external_data(self) -> list[str]:
        return [name for name in self.digests if not name.endswith(".onnx")]

    def _check_same(self) -> None:
        """Check that the folder was not exported again after it was opened."""
        try:
            now = Artifact.open(self.path)
        except ContractError:
            return
        if now.digests != self.digests:
            raise ContractError(
                f"`{self.path}` was exported again after it was loaded. Load it again."
            )

    def _check_digest(self, name: str) -> None:
        file = self.path / name
        regular_file_size(file, f"`{file}`", ContractError)
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ContractError(f"`{file}` cannot be read: {error.strerror or error}.") from error
        if digest == self.digests.get(name):
            return
        if file.suffix == ".onnx" and self.contract.family.encode() not in file.read_bytes():
            raise ContractError(
                f"`{file}` belongs to another artifact: its family is not "
                f"{self.contract.family}, as in `{CONTRACT_FILE}`. Graphs of two exports must "
                "not be mixed; copy the whole folder."
            )
        raise ContractError(
            f"`{file}` was changed after the export: its SHA-256 is {digest[:12]}…, the contract "
            f"has {self.digests.get(name, 'none')[:12]}…. Export the model again."
        )


def _contract_file(folder: Path) -> Any:
    """Return the content of `contract.json` in an artifact's folder."""
    subject, file = f"`{folder}`", folder / CONTRACT_FILE
    if not os.path.lexists(file):
        if os.path.isfile(folder):
            raise ContractError(
                f"{subject} is a file, and an artifact is a folder. `edgernn export MODEL` writes "
                "one for the file of a model."
            )
        what = "is not an artifact" if os.path.exists(folder) else "does not exist"
        raise ContractError(
            f"{subject} {what}: there is no `{CONTRACT_FILE}` in it. "
            "`edgernn export MODEL` writes an artifact."
        )
    try:
        return parse_json(read_text(file, f"`{file}`", ContractError, _MAX_BYTES))
    except ValueError as error:
        raise ContractError(
            f"{subject} has a `{CONTRACT_FILE}` that cannot be read: {str(error).rstrip('.')}. "
            "Export the model again."
        ) from error


def _is_file_name(name: str) -> bool:
    """Say whether `name` can only be a file of the artifact's own folder."""
    return name.isprintable() and name not in ("", ".", "..") and not {*name} & {*"/\\:"}
