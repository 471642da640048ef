"""The files of an artifact: graphs, golden run, contract.json, README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn import __version__
from edgernn.artifact import CONTRACT_FILE, Artifact
from edgernn.contract import Contract
from edgernn.export.analysis.cost import PARAMETERS, cost_of
from edgernn.export.analysis.runtimes import refusals_of
from edgernn.export.artifact.card import card
from edgernn.report import ParityReport

__all__ = ["Files", "drop_remarks"]

EXTERNAL_BYTES = 1_500_000_000
_WEIGHTS = "weights.bin"


class Files:
    """The files of one artifact, in the folder that becomes it.

    Args:
        folder: An empty folder.
        models: `sequence` and, where there is one, `step` → the graph.
        name: The name that the folder will have.
        parameters: The number of parameters of the model itself: a step graph may hold a table
            that an embedding and a product were folded into, and int8 weights have scales.
    """

    def __init__(
        self, folder: Path, models: Mapping[str, ir.Model], name: str, parameters: int
    ) -> None:
        self._folder = folder
        self._models = models
        self._name = name
        self._parameters = parameters

    @property
    def paths(self) -> dict[str, str]:
        """The file of each graph."""
        return {kind: str(self._folder / f"{kind}.onnx") for kind in self._models}

    def save(self, contract: Contract) -> None:
        """Write the graphs with the contract in their metadata."""
        for kind, model in self._models.items():
            _label(model, kind, contract)
            model.metadata_props[PARAMETERS] = str(self._parameters)
        external = _external(self._models)
        for kind, path in self.paths.items():
            if external:
                ir.save(self._models[kind], path, external_data=f"{kind}.{_WEIGHTS}")
            else:
                ir.save(self._models[kind], path)

    def finish(
        self,
        contract: Contract,
        report: ParityReport | None,
        golden: Mapping[str, NDArray[Any]],
    ) -> None:
        """Write everything, the graphs that `contract` has and no others.

        Raises:
            ContractError: The contract is one that its own reader refuses.
        """
        for kind in set(self._models) - set(contract.graphs):
            Path(self.paths[kind]).unlink()
        self._models = {kind: self._models[kind] for kind in contract.graphs}
        self.save(contract)
        (self._folder / "golden").mkdir()
        for name, array in golden.items():
            np.save(self._folder / "golden" / f"{name}.npy", np.ascontiguousarray(array))
        refusals: dict[str, str] = {}
        for kind, model in self._models.items():
            for runtime, reason in refusals_of(model).items():
                refusals[f"{runtime} ({kind}.onnx)"] = reason
        artifact = Artifact(
            path=self._folder,
            contract=contract,
            parity=report,
            cost=cost_of(next(reversed(self._models.values()))),
            refusals=refusals,
            digests={
                file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                for file in sorted(self._folder.iterdir())
                if file.is_file()
            },
        )
        text = json.dumps(artifact.to_json(), indent=2, ensure_ascii=False)
        (self._folder / CONTRACT_FILE).write_text(text + "\n", "utf-8")
        (self._folder / "README.md").write_text(card(artifact, self._name), "utf-8")
        Artifact.open(self._folder)


def drop_remarks(model: ir.Model) -> None:
    """Take out what exporters noted beside the graph: where torch is installed, what ran before."""
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def _label(model: ir.Model, kind: str, contract: Contract) -> None:
    """Write who made the graph, and its contract, in place of what the exporters left."""
    drop_remarks(model)
    model.graph.name = kind
    model.producer_name, model.producer_version = "edgernn", __version__
    model.metadata_props.update(contract.metadata(kind))


def _external(models: Mapping[str, ir.Model]) -> bool:
    return any(
        sum(v.const_value.nbytes for v in m.graph.initializers.values() if v.const_value)
        > EXTERNAL_BYTES
        for m in models.values()
    )
