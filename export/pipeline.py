"""The whole way from a model to an artifact."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from edgernn.artifact import Artifact
from edgernn.errors import ParityError, UnsupportedModelError
from edgernn.export.analysis.cost import cost_of
from edgernn.export.apply_options import (
    TOLERANCES,
    apply_options,
    constant_sizes,
    precision_notes,
    tolerance_of,
    with_steps_of,
)
from edgernn.export.artifact_files.artifact_writer import ArtifactWriter, remove_exporter_notes
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from edgernn.export.build import build
from edgernn.export.built import Built
from edgernn.export.call.added_lengths import LENGTHS
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.check_request import check_request
from edgernn.export.code_lines.place import Place
from edgernn.export.foreign.build_graphs import build_foreign
from edgernn.export.foreign.file_lengths import with_lengths
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.library_errors import locating, places_of, stage
from edgernn.export.make_contract import (
    known_contract,
    make_contract,
    reference_of,
    samples_of,
)
from edgernn.export.make_example import make_example
from edgernn.export.options import (
    ExportOptions,
    GraphChoice,
    Precision,
    SourceOptions,
    StateLayout,
    SupportsArray,
    accept_old_names,
)
from edgernn.export.proof.eager_reference import Reference, one_thread
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.port_adapter import Dialect
from edgernn.export.reroll.loop_refusal import branch_on_size
from edgernn.export.source.load_source import Source, load_source
from edgernn.export.streaming.hidden_memory import check_memory_is_state
from edgernn.report import ParityReport
from edgernn.untrusted_text import escape_unprintable
from edgernn.vocabulary import Vocabulary

__all__ = ["export_model", "verify_artifact"]


@accept_old_names(ExportOptions)
def export_model(
    model: nn.Module | str | Path,
    path: str | Path | None = None,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | SupportsArray | None = None,
    states: Mapping[str, str | int] | None = None,
    module: str | Callable[[], object] | None = None,
    assume_plain: bool = False,
    trust: bool = False,
    graph: GraphChoice = "both",
    precision: Precision = "float32",
    opset: int = 18,
    state_layout: StateLayout = "torch",
    state_per_layer: bool = False,
    int32_ids: bool = False,
    reset: bool = False,
    lengths: bool = False,
    batch_size: int | None = None,
    steps: int | None = None,
    vocabulary: Vocabulary | Sequence[str] | Mapping[str, Any] | str | Path | None = None,
    force: bool = False,
    verify: bool = True,
) -> Artifact:
    """Export a recurrent model as ONNX graphs with their state, proven against the model.

    Args:
        model: An `nn.Module`, or a file: TorchScript archive, torch.export archive, state_dict
            (.pt, .pth, .safetensors), pickled module, ONNX file.
        path: The folder to write; by default the model's name with `.edgernn` in the current one.
        inputs: forward's arguments: example tensors as a tuple or by name, or specs such as
            `"tokens:int64[batch,sequence]"`. Inferred where None.
        states: States that cannot be recognised: argument → result of forward, by path or place.
        module: What makes the module which a state_dict belongs to: `FILE.py:FACTORY`, or a
            function or class that returns an `nn.Module` when it is called without arguments.
        assume_plain: Whether to assume that nothing lies between the layers of a bare state_dict:
            no activation, no selection of a step.
        trust: Whether opening the file may run code of its author: a pickled module, or an archive
            that does more than compute.
        graph: The graphs to write: `both`, `sequence` or `step`.
        precision: The number format of weights and computation: `float32`, `float16` or `int8`.
        opset: The ONNX operator set of the graphs.
        state_layout: `torch`, (layers, batch, size); or `batch-major`, (batch, layers, size).
        state_per_layer: Whether every layer of a stack has its own state: `h_l0`, `h_l1`, ….
        int32_ids: Whether integers come in as int32 instead of int64.
        reset: Whether to add an input `reset`, bool (batch,): where it is true, the sequence starts
            from its initial state.
        lengths: Whether to add an input `lengths`, (batch,) int64, to a model that has none; the
            recurrent layers end each sequence there.
        batch_size: The only number of sequences that the graphs take; None for any.
        steps: The only number of steps that the sequence graph takes; None for any.
        vocabulary: The symbols in the order of their ids, or a vocabulary file.
        force: Whether to replace an artifact that exists.
        verify: Whether to prove the graphs before they are written: against eager torch, those of
            an ONNX file against that file in ONNX Runtime.

    Returns:
        The artifact on disk.

    Raises:
        EdgernnError: One of its children, which `edgernn.errors` tells apart. Nothing is written.
    """
    options = ExportOptions(
        path=path,
        inputs=inputs,
        states=states,
        module=module,
        assume_plain=assume_plain,
        trust=trust,
        graph=graph,
        precision=precision,
        opset=opset,
        state_layout=state_layout,
        state_per_layer=state_per_layer,
        int32_ids=int32_ids,
        reset=reset,
        lengths=lengths,
        batch_size=batch_size,
        steps=steps,
        vocabulary=vocabulary,
        force=force,
        verify=verify,
    )
    source = load_source(model, module=module, assume_plain=assume_plain, trust=trust)
    target = Path(path) if path is not None else Path(f"{_stem(model)}.edgernn")
    symbols = _symbols(source) if vocabulary is None else Vocabulary.of(vocabulary)
    with atomic_folder(target, force) as folder, _as_written(_name(source)):
        built, reference = _build(source, inputs, states or {}, lengths)
        known = known_contract(built, reference, escape_unprintable(source.description), symbols)
        contract = make_contract(known, built, reference, source.notes)
        options = with_steps_of(options, built.example.constants)
        sizes = constant_sizes(options)
        check_request(graph, sizes, contract)
        prover = Prover(
            samples_of(built, reference, contract),
            TOLERANCES[precision],
            sizes,
            built.bounds.apart,
        )
        prover.check_constants()
        graphs = {kind: built.graphs[kind] for kind in contract.graphs}
        parameters = cost_of(built.sequence).parameters
        written = apply_options(options, graphs, contract, built.layers)
        places = places_of(graphs.values())
        for graph_model in graphs.values():
            remove_exporter_notes(graph_model)
        written = replace(written, family=_family(graphs))
        writer = ArtifactWriter(folder, graphs, escape_unprintable(target.name), parameters)
        files = writer.write_graphs()
        adapter = Dialect(contract, written)
        report = None
        if verify:
            with _refusing_to_write(places):
                report = _prove(prover, files, adapter, source, built)
        notes = (*written.notes, *prover.notes(report), *precision_notes(precision, report))
        written = replace(written, notes=notes, parity="" if report is None else str(report))
        golden = adapter.recorded(prover.golden.by_port(contract))
        writer.finish(written if graph == "both" else written.only(graph), report, golden)
    return Artifact.open(target)


@accept_old_names(SourceOptions)
def verify_artifact(
    artifact: Artifact,
    model: nn.Module | str | Path,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | SupportsArray | None = None,
    states: Mapping[str, str | int] | None = None,
    module: str | Callable[[], object] | None = None,
    assume_plain: bool = False,
    trust: bool = False,
) -> ParityReport:
    """Prove an artifact against the model that it was made from, in full.

    Args:
        artifact: What `export_model` wrote.
        model: As for `export_model`, like the other arguments.
        inputs: See there.
        states: See there.
        module: See there.
        assume_plain: See there.
        trust: See there.

    Raises:
        ParityError: A graph does not agree with the model.
        ContractError: The model has other ports than the artifact.
    """
    options = SourceOptions(
        inputs=inputs, states=states, module=module, assume_plain=assume_plain, trust=trust
    )
    source = load_source(
        model, module=options.module, assume_plain=options.assume_plain, trust=options.trust
    )
    theirs = artifact.contract
    with _as_written(_name(source)):
        built, reference = _build(
            source, options.inputs, options.states or {}, LENGTHS in theirs.lengths
        )
        known = known_contract(
            built, reference, escape_unprintable(source.description), theirs.vocabulary
        )
        contract = known(carry=theirs.carry, most=theirs.most, least=theirs.least)
        adapter = Dialect(contract, theirs)
        paths = {kind: str(artifact.checked(kind)) for kind in theirs.graphs}
        prover = Prover(
            samples_of(built, reference, contract),
            tolerance_of(map(ir.load, paths.values())),
            theirs.constants,
            built.bounds.apart,
        )
        return prover.report(paths, adapter)


@contextlib.contextmanager
def _as_written(name: str) -> Iterator[None]:
    """Run a model on one thread and as its author wrote it, without what torch.compile wraps.

    Args:
        name: What messages call the model.
    """
    forced = torch.compiler.set_stance("force_eager")
    with one_thread(), forced, stage("proving and writing the graphs", name):
        yield


@contextlib.contextmanager
def _refusing_to_write(places: Mapping[str, Place]) -> Iterator[None]:
    """Say of a graph that does not pass that nothing was written, and where its nodes come from."""
    try:
        with locating(places):
            yield
    except ParityError as error:
        raise ParityError(f"{error} Nothing was written.") from error.__cause__


def _prove(
    prover: Prover,
    paths: Mapping[str, str],
    adapter: Dialect,
    source: Source | OnnxFile,
    built: Built,
) -> ParityReport:
    """Run every check; of a forward that branches on a size, say so where it fails."""
    try:
        return prover.report(paths, adapter)
    except ParityError as error:
        branch = (
            branch_on_size(source.module, built.example) if isinstance(source, Source) else None
        )
        if branch is None:
            raise
        raise UnsupportedModelError(f"`{_name(source)}.forward` {branch}") from error


def _symbols(source: Source | OnnxFile) -> Vocabulary | None:
    """Return the vocabulary that a graph of edgernn's has in its metadata."""
    contract = source.contract if isinstance(source, OnnxFile) else None
    return None if contract is None else contract.vocabulary


def _stem(model: nn.Module | str | Path) -> str:
    return type(model).__name__.lower() if isinstance(model, nn.Module) else Path(model).stem


def _name(source: Source | OnnxFile) -> str:
    """Return what messages call a model: its class, or its file."""
    return source.path.name if isinstance(source, OnnxFile) else type(source.module).__name__


def _build(
    source: Source | OnnxFile, inputs: Any, states: Mapping[str, str | int], lengths: bool
) -> tuple[Built, Reference]:
    """Return the graphs of a model and what they are proven against."""
    if isinstance(source, OnnxFile):
        with stage("opening its states", _name(source)):
            return build_foreign(with_lengths(source) if lengths else source, inputs, states)
    with stage("running forward", _name(source)):
        example = make_example(source, inputs, lengths, states)
    with stage("writing the graphs", _name(source)):
        built = _build_or_fix_steps(source.module, example, states)
    if built.module is source.module:
        for call in (example, example.resized(dict.fromkeys(example.sizes, 1))):
            check_memory_is_state(source.module, call, built.calls_of_own_states)
    return built, reference_of(source.module if lengths else source.given, built, source.reference)


def _build_or_fix_steps(
    module: nn.Module, example: ExampleCall, states: Mapping[str, str | int]
) -> Built:
    """Build with the steps dynamic; where that fails and a spec gives their number, with that."""
    try:
        return build(module, example, states)
    except UnsupportedModelError:
        if not example.constants:
            raise
        return build(module, example.with_constant_axes(), states)  # a forward that asks its size


def _family(models: Mapping[str, ir.Model]) -> str:
    """Return a hash of the graphs' weights and nodes, once remarks of exporters are out of them."""
    digest = hashlib.sha256()
    for model in models.values():
        digest.update(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]
