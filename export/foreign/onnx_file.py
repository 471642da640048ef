"""An ONNX file of any producer: read, checked, and changed as far as ONNX Runtime needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from edgernn.artifact import Artifact
from edgernn.contract import BATCH, Contract
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.analysis.graph_precision import precision_of
from edgernn.export.call.added_lengths import LENGTHS
from edgernn.export.foreign.canonicalize import remove_layout
from edgernn.export.foreign.convert_model import to_float32
from edgernn.export.foreign.recurrent_nodes import check_nodes, name_finals
from edgernn.export.ir.decode_file import decode, readable
from edgernn.export.ir.graph_names import port_of
from edgernn.export.ir.recurrent_operators import Input, input_of, recurrent_nodes
from edgernn.option_names import option
from edgernn.report import Fold

__all__ = ["OPSETS", "OnnxFile", "ResolvedIf", "add_lengths", "read_artifact", "read_onnx"]

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
"""The operator sets that are read; before 7, LSTM, GRU and RNN were other operators."""


@dataclass(frozen=True)
class ResolvedIf:
    """An If that was replaced by one of its branches.

    Attributes:
        condition: The name of its condition.
        taken: What the condition was.
        title: What messages call the If.
    """

    condition: str
    taken: bool
    title: str


@dataclass(frozen=True)
class OnnxFile:
    """A graph of any producer.

    Attributes:
        path: Its file.
        model: Its graph, with its own names and opset.
        runnable: What ONNX Runtime runs as the reference: the file, or the serialized `model`
            where ONNX Runtime does not take the file as it is.
        reference: What that is, in a few words.
        notes: For people: what was changed to run it.
        constants: Name of an input of the file that `model` does not have → its constant value.
        resolved_ifs: The Ifs of the file that `model` does not have.
        contract: What the graph promises, where edgernn wrote it.
        step: The step graph beside it, where it is the sequence graph of an artifact.
        folds: The embeddings of the step graph that are folded into a product, or could be.
    """

    path: Path
    model: ir.Model
    runnable: str | bytes
    reference: str
    notes: tuple[str, ...] = ()
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    resolved_ifs: tuple[ResolvedIf, ...] = ()
    contract: Contract | None = None
    step: ir.Model | None = None
    folds: tuple[Fold, ...] = ()

    @property
    def name(self) -> str:
        """What messages call the model."""
        return self.path.name

    @property
    def description(self) -> str:
        """What the model was, in one line."""
        producer = f"{self.model.producer_name or ''} {self.model.producer_version or ''}".strip()
        return f"ONNX file {self.path.name}{f', {producer}' if producer else ''}"


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file and check that its recurrent nodes are of forms that can be written.

    Raises:
        SourceError: It is not an ONNX graph, or its weights are missing.
        UnsupportedModelError: It holds a form of recurrence that is refused.
    """
    model = _load(path)
    with readable(path):
        return _read(path, model)


def _read(path: Path, model: ir.Model) -> OnnxFile:
    version = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 0))
    if version not in OPSETS:
        raise UnsupportedModelError(
            f"`{path}` is of ONNX opset {version}; {OPSETS[0]} to {OPSETS[-1]} can be read. "
            "Convert it with onnx.version_converter, or export the model again."
        )
    if model.functions:
        passes.InlinePass()(model)
    _tidy(model)
    contract = _contract(model, path)
    if contract is not None:
        _check_precision(model, path)
    check_nodes(model, f"`{path}`", contract is not None)
    changes = [change for change in (to_float32(model), remove_layout(model)) if change]
    how = " and ".join(how for how, _ in changes)
    return OnnxFile(
        path=path,
        model=model,
        runnable=ir.serde.serialize_model(model).SerializeToString() if changes else str(path),
        reference=f"the original file{f' ({how})' if how else ''} in ONNX Runtime",
        notes=tuple(note for _, note in changes),
        contract=contract,
    )


def read_artifact(folder: Path) -> OnnxFile:
    """Read the sequence graph of an artifact, and its step graph with it; or that alone.

    A step graph in another precision than float32 is left out: it rounds in other places than the
    sequence graph, so that the two differ by more than float32 does.

    Raises:
        ContractError: The artifact is of another version, or was tampered with.
        SourceError: A graph is not what the artifact says.
    """
    artifact = Artifact.open(folder)
    if artifact.contract.sequence is None:
        return replace(read_onnx(artifact.checked("step")), folds=artifact.folds)
    file = read_onnx(artifact.checked("sequence"))
    if artifact.contract.step is None:
        return file
    step = _load(artifact.checked("step"))
    return file if to_float32(step) else replace(file, step=step, folds=artifact.folds)


def add_lengths(file: OnnxFile) -> OnnxFile:
    """Return the file with an input `lengths`, (batch,) int64, as `sequence_lens` of its nodes.

    Nodes that have lengths keep theirs; a file whose nodes all have some is returned as it is.

    Raises:
        InputError: It has an input of that name for something else.
        UnsupportedModelError: It has no recurrent node.
    """
    model = file.model.clone()
    nodes = recurrent_nodes(model.graph)
    if not nodes:
        raise UnsupportedModelError(
            f"`{file.path}` has no LSTM, GRU or RNN node whose sequences could end at lengths. "
            f"Export it without {option('lengths')}."
        )
    endless = [node for node in nodes if input_of(node, Input.SEQUENCE_LENS) is None]
    if not endless or (file.contract is not None and file.contract.lengths):
        return file
    if any(value.name == LENGTHS for value in model.graph.inputs):
        raise InputError(
            f"`{file.path}` has an input `{LENGTHS}` already, which is not that of its recurrent "
            f"nodes. Export it without {option('lengths')}."
        )
    lengths = ir.Value(name=LENGTHS, shape=ir.Shape([BATCH]), type=ir.TensorType(ir.DataType.INT64))
    narrow = ir.node("Cast", [lengths], {"to": ir.DataType.INT32})
    model.graph.inputs.append(lengths)
    model.graph.insert_before(model.graph[0], narrow)
    for node in endless:
        node.replace_input_with(Input.SEQUENCE_LENS, narrow.outputs[0])
    return replace(
        file,
        model=model,
        runnable=ir.serde.serialize_model(model).SerializeToString(),
        reference="the original file with lengths for its nodes, in ONNX Runtime",
    )


def _contract(model: ir.Model, path: Path) -> Contract | None:
    """Take the contract out of the metadata of a graph that edgernn wrote."""
    metadata = dict(model.metadata_props)
    if not any(key.startswith("edgernn.") for key in metadata):
        return None
    model.metadata_props.clear()
    inputs, outputs = map(port_of, model.graph.inputs), map(port_of, model.graph.outputs)
    return Contract.from_metadata(metadata, list(inputs), list(outputs), f"`{path}`")


def _check_precision(model: ir.Model, path: Path) -> None:
    """Refuse a graph of edgernn's whose weights are integers: what they were is lost.

    Raises:
        UnsupportedModelError: They are.
    """
    precision = precision_of([model])
    if precision in ("int8", "int4"):
        raise UnsupportedModelError(
            f"`{path}` is in {precision}: its weights are integers, from which no other precision "
            "and no other graph can be made. Export the model that it was made from, with the "
            "options that you want."
        )


def _load(path: Path) -> ir.Model:
    model = decode(path)
    with readable(path):
        ir.external_data.load_to_model(model)
    return model


def _tidy(model: ir.Model) -> None:
    """Drop stale shapes, repeated outputs, and weights among the inputs.

    IR versions below 4 list weights there; torch.onnx.export(dynamo=False) lists twice what forward
    returns twice.
    """
    graph = model.graph
    graph.outputs[:] = dict.fromkeys(graph.outputs)
    graph.inputs[:] = [value for value in graph.inputs if not value.is_initializer()]
    model.ir_version = max(model.ir_version, 4)
    name_finals(graph)
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
