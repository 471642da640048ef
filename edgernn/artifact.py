"""The folder that `edgernn export` writes: graphs, golden run, contract.json, README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgernn.contract import Contract
from edgernn.errors import ContractError
from edgernn.report import Cost, ParityReport

__all__ = ["CONTRACT_FILE", "Artifact"]

CONTRACT_FILE = "contract.json"


@dataclass(frozen=True)
class Artifact:
    """An exported model on disk.

    Attributes:
        path: The folder.
        contract: What its graphs promise.
        parity: How they were proven, or None if they were written unproven.
        cost: What one step costs.
        refusals: Name of a runtime that would refuse or misread a graph → why.
        digests: Name of a file → its SHA-256, in hexadecimal.
    """

    path: Path
    contract: Contract
    parity: ParityReport | None
    cost: Cost
    refusals: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

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

        Where there is no sequence graph, the arrays still have its shapes: the step graph's with
        a leading sequence axis.
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
        try:
            data = json.loads((path / CONTRACT_FILE).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            what = "is not an artifact" if path.exists() else "does not exist"
            raise ContractError(
                f"{subject} {what}: there is no `{CONTRACT_FILE}` in it. "
                "`edgernn export MODEL` writes an artifact."
            ) from None
        except (OSError, ValueError) as error:
            raise ContractError(
                f"{subject} has a `{CONTRACT_FILE}` that cannot be read: {error}"
            ) from error
        contract = Contract.from_json(data, subject)
        try:
            return cls(
                path=path,
                contract=contract,
                parity=ParityReport.from_json(data["parity"]) if data["parity"] else None,
                cost=Cost(**data["cost"]),
                refusals=dict(data["refusals"]),
                digests=dict(data["sha256"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ContractError(
                f"{subject} has a `{CONTRACT_FILE}` that cannot be read ({error!r}). "
                "Export the model again."
            ) from error

    def checked(self, kind: str) -> Path:
        """Return the file of graph `kind` after comparing it with the contract's digest.

        Raises:
            ContractError: There is no such graph, or the file is missing, changed or another
                artifact's.
        """
        if kind not in self.contract.graphs:
            raise ContractError(f"`{self.path}` has no {kind} graph.{self._notes()}")
        file = self.path / f"{kind}.onnx"
        for name in (file.name, *self._external_data()):
            self._check_digest(self.path / name)
        return file

    def to_json(self) -> dict[str, Any]:
        """Return the content of `contract.json`."""
        return {
            **self.contract.to_json(),
            "parity": self.parity.to_json() if self.parity else None,
            "cost": asdict(self.cost),
            "refusals": dict(self.refusals),
            "sha256": dict(self.digests),
        }

    def _notes(self) -> str:
        return "".join(f" {note}" for note in self.contract.notes)

    def _external_data(self) -> list[str]:
        return [name for name in self.digests if not name.endswith(".onnx")]

    def _check_digest(self, file: Path) -> None:
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ContractError(f"`{file}` cannot be read: {error.strerror or error}.") from error
        if digest == self.digests.get(file.name):
            return
        if file.suffix == ".onnx" and self.contract.family.encode() not in file.read_bytes():
            raise ContractError(
                f"`{file}` belongs to another artifact: it is not of family "
                f"{self.contract.family} as the contract beside it. Graphs of two exports must "
                "not be mixed; copy the whole folder."
            )
        raise ContractError(
            f"`{file}` was changed after the export: its SHA-256 is {digest[:12]}…, the contract "
            f"has {self.digests.get(file.name, 'none')[:12]}…. Export the model again."
        )
