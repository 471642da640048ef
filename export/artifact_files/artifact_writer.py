"""The files of an artifact: graphs, golden run, contract.json, README.md.

Each graph is written once. Its metadata hold the result of the proof, and the proof runs the file,
so they come last: bytes after a protobuf message add fields to it.

    write_graphs   sequence.onnx    = producer, graph, opset
    the proof      sequence.onnx    is loaded and run
    finish         sequence.onnx   += metadata: contract, result of the proof
                   contract.json, README.md, golden/*.npy
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from edgernn import __version__
from edgernn.artifact import CONTRACT_FILE, Artifact
from edgernn.contract import Contract
from edgernn.export.analysis.cost import PARAMETERS, cost_of
from edgernn.export.analysis.runtime_refusals import refusals_of
from edgernn.export.artifact_files.model_card import model_card
from edgernn.export.forms.make_forms import BuiltForm
from edgernn.forms import FORMS_FOLDER
from edgernn.layer import Layer
from edgernn.precision_report import PrecisionReport
from edgernn.report import Fold, ParityReport

__all__ = ["ArtifactWriter", "remove_exporter_notes"]

EXTERNAL_BYTES = 1_500_000_000
"""Bytes of weights above which they are in a file of their own: protobuf messages end at 2 GB."""


class ArtifactWriter:
    """Writes the files of one artifact.

    Args:
        folder: An empty folder, the future artifact.
        graphs: `sequence` and, where there is one, `step` → the graph, without any metadata.
        name: The final name of the folder.
        layers: The layers of the model itself.
        parameters: The number of its parameters. A graph may hold more or fewer: a
            table that merges an embedding with a product, scales of int8 weights.
    """

    def __init__(
        self,
        folder: Path,
        graphs: Mapping[str, ir.Model],
        name: str,
        layers: tuple[Layer, ...],
        parameters: int,
    ) -> None:
        self._folder = folder
        self._graphs = graphs
        self._name = name
        self._layers = layers
        self._parameters = parameters
        self._forms: list[BuiltForm] = []

    @property
    def has_external_weights(self) -> bool:
        """Whether the weights are in files of their own."""
        return any(_weight_bytes(model) > EXTERNAL_BYTES for model in self._graphs.values())

    def write_graphs(self) -> dict[str, str]:
        """Write every graph without its metadata; return the file of each."""
        external = self.has_external_weights
        for kind, model in self._graphs.items():
            model.graph.name = kind
            model.producer_name, model.producer_version = "edgernn", __version__
            weights = self._weights(kind).name if external else None
            ir.save(model, self._file(kind), external_data=weights)
        return {kind: str(self._file(kind)) for kind in self._graphs}

    def write_form(self, form: BuiltForm) -> str:
        """Write the graph of a form without its metadata; return its file."""
        (self._folder / FORMS_FOLDER).mkdir(exist_ok=True)
        form.model.graph.name = form.form.graph
        form.model.producer_name, form.model.producer_version = "edgernn", __version__
        file = self._folder / form.form.file
        ir.save(form.model, file)
        self._forms.append(form)
        return str(file)

    def remove_form(self, form: BuiltForm) -> None:
        """Remove the graph of a form again."""
        self._forms.remove(form)
        (self._folder / form.form.file).unlink()
        if not self._forms:
            (self._folder / FORMS_FOLDER).rmdir()

    def finish(
        self,
        contract: Contract,
        report: ParityReport | None,
        golden: Mapping[str, NDArray[Any]],
        tolerance: float,
        precision: PrecisionReport | None = None,
        folds: tuple[Fold, ...] = (),
    ) -> None:
        """Complete the graphs that `contract` has, delete others, and write the other files.

        Args:
            contract: The contract of the graphs.
            report: The parity check, or None for an export without one.
            golden: The golden run, by the names of ports.
            tolerance: What a replay of the golden run may differ by.
            precision: How the weights are stored and what that costs, if there is anything to say.
            folds: The embeddings of the step graph that are folded or could be.

        Raises:
            ContractError: The contract does not pass the checks of its own reader.
        """
        for kind in self._graphs.keys() - contract.graphs.keys():
            self._file(kind).unlink()
            self._weights(kind).unlink(missing_ok=True)
        graphs = {kind: self._graphs[kind] for kind in contract.graphs}
        for kind, model in graphs.items():
            self._add_metadata(self._file(kind), model, contract.metadata(kind))
        for form in self._forms:
            metadata = form.contract(contract).metadata(form.form.graph)
            self._add_metadata(self._folder / form.form.file, form.model, metadata)
        (self._folder / "golden").mkdir()
        for name, array in golden.items():
            np.save(self._folder / "golden" / f"{name}.npy", np.array(array, order="C"))
        artifact = Artifact(
            path=self._folder,
            contract=contract,
            parity=report,
            cost=cost_of(next(reversed(graphs.values()))),
            refusals={
                f"{runtime} ({kind}.onnx)": reason
                for kind, model in graphs.items()
                for runtime, reason in refusals_of(model).items()
            },
            digests={
                name: hashlib.sha256((self._folder / name).read_bytes()).hexdigest()
                for name in (*self._own_files(), *(form.form.file for form in self._forms))
            },
            layers=self._layers,
            tolerance=tolerance,
            folds=folds if contract.step else (),
            precision=precision,
            forms=tuple(form.form for form in self._forms),
        )
        text = json.dumps(artifact.to_json(), indent=2, ensure_ascii=False)
        (self._folder / CONTRACT_FILE).write_text(text + "\n", "utf-8")
        (self._folder / "README.md").write_text(model_card(artifact, self._name), "utf-8")
        Artifact.open(self._folder)

    def _own_files(self) -> list[str]:
        """Return the names of the files in the folder itself."""
        return sorted(file.name for file in self._folder.iterdir() if file.is_file())

    def _add_metadata(self, file: Path, model: ir.Model, texts: Mapping[str, str]) -> None:
        """Append metadata to the file of a graph."""
        metadata = {**texts, PARAMETERS: str(self._parameters)}
        model.metadata_props.update(metadata)
        fields = onnx.ModelProto()  # sorted by key, as onnx-ir writes them
        onnx.helper.set_model_props(fields, dict(sorted(metadata.items())))
        with file.open("ab") as stream:
            stream.write(fields.SerializeToString())

    def _file(self, kind: str) -> Path:
        return self._folder / f"{kind}.onnx"

    def _weights(self, kind: str) -> Path:
        return self._folder / f"{kind}.weights.bin"


def remove_exporter_notes(model: ir.Model) -> None:
    """Remove notes of exporters from a graph, such as where torch is installed; in place."""
    ClearMetadataAndDocStringPass()(model)
    computed = (value for node in model.graph.all_nodes() for value in node.outputs)
    for value in (*model.graph.inputs, *model.graph.outputs, *computed):
        value.metadata_props.clear()
    model.metadata_props.clear()


def _weight_bytes(model: ir.Model) -> int:
    weights = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in weights if tensor is not None)
