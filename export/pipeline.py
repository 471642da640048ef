"""The whole way from a model to an artifact."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from torch import nn

from edgernn.artifact import Artifact
from edgernn.contract import Contract
from edgernn.declared_options import accept_old_names
from edgernn.errors import ParityError, UnsupportedModelError
from edgernn.export.analysis.cost import cost_of
from edgernn.export.apply_options import (
    apply_options,
    check_request,
    constant_sizes,
    with_steps_of,
)
from edgernn.export.artifact_files.artifact_writer import ArtifactWriter, remove_exporter_notes
from edgernn.export.artifact_files.atomic_replace import atomic_folder
from edgernn.export.artifact_files.golden_of_steps import golden_of_steps
from edgernn.export.build_model import build_model, open_model
from edgernn.export.built import Built
from edgernn.export.calibration.product_inputs import input_moments
from edgernn.export.calibration.quality import check_loss, measure_quality
from edgernn.export.calibration_data import read_calibration
from edgernn.export.code_lines.source_line import SourceLine
from edgernn.export.fold_options import fold_graphs, with_products
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.library_errors import lines_of, locating, stage
from edgernn.export.make_contract import (
    calls_in_row,
    known_contract,
    make_contract,
    sampler_of,
)
from edgernn.export.options import (
    ExportOptions,
    FoldChoice,
    GraphChoice,
    Precision,
    StateLayout,
    SupportsArray,
)
from edgernn.export.precision_cost import precision_notes, precision_report
from edgernn.export.proof.eager_reference import eager_on_one_thread
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.export.proof.reference import Reference
from edgernn.export.prove_forms import prove_forms
from edgernn.export.quantize.unit_range import largest_state
from edgernn.export.source.load_source import Source
from edgernn.export.trace.size_branch import find_size_branch
from edgernn.report import ParityReport
from edgernn.tolerances import TOLERANCES
from edgernn.untrusted_text import escape_unprintable
from edgernn.vocabulary import Vocabulary

__all__ = ["export_model"]

_LOG = logging.getLogger("edgernn.export")


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
    fold: FoldChoice = "auto",
    opset: int = 18,
    state_layout: StateLayout = "torch",
    state_per_layer: bool = False,
    int32_ids: bool = False,
    reset: bool = False,
    lengths: bool = False,
    batch_size: int | None = None,
    steps: int | None = None,
    rate: float | None = None,
    vocabulary: Vocabulary | Sequence[str] | Mapping[str, Any] | str | Path | None = None,
    calibrate: Mapping[str, Any] | str | Path | None = None,
    tolerance: float | None = None,
    max_loss: float | None = None,
    force: bool = False,
    verify: bool = True,
    all_forms: bool = False,
) -> Artifact:
    """Export a recurrent model as ONNX graphs with their state, proven against the model.

    After an error, nothing is written, and an artifact that exists is unchanged.

    Args:
        model: An `nn.Module`, or a file: TorchScript archive, torch.export archive, state_dict
            (.pt, .pth, .safetensors), pickled module, ONNX file, or the folder of an artifact.
        path: The folder to write; by default the model's name with `.edgernn` in the current one.
        inputs: forward's arguments: example tensors as a tuple or by name, or specs such as
            `"tokens:int64[batch,sequence]"`. Inferred where None.
        states: States that cannot be recognised: argument of forward → its next value in what
            forward returns, by name, path (`[1][0]`) or index.
        module: The code of a state_dict: `FILE.py:FACTORY`, or a function or class that returns
            an `nn.Module` when it is called without arguments.
        assume_plain: Whether to assume that nothing lies between the layers of a bare state_dict:
            no activation, no selection of a step.
        trust: Whether opening the file may run code of its author: a pickled module, or an archive
            that does more than compute.
        graph: The graphs to write: `both`, `sequence` or `step`.
        precision: The number format of weights and computation: `float32`, `float16`, `int8` or
            `int4`, which needs ONNX Runtime and rounds with the data of `calibrate` in view.
        fold: Whether the step graph looks up the product of an embedding instead of computing it,
            for a larger file: `yes`, `no`, or `auto`, where the table is at most 8 MiB or smaller
            than what it replaces.
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
        rate: How many steps of the input there are in a second, such as 16000 for samples of sound.
            It changes no graph: delays are then known in ms, and `edgernn run` compares it with
            that of a sound file.
        vocabulary: The symbols in the order of their ids, an object from symbol to id, or a file
            that `Vocabulary.from_file` reads.
        calibrate: Data to measure the quality on, in float32 and as exported: arrays by the names
            of ports, or a file as `edgernn run --input` takes it, or of text for a model with a
            vocabulary. Measured are perplexity and accuracy where the model scores the next id, or
            where the data hold ids under the name of an output; the error where they hold numbers
            there; else the difference. `Artifact.precision.calibration` has the result.
        tolerance: The largest difference from the model that passes, relative to the scale of the
            numbers; None for 1e-5 in float32, 2e-2 in float16, 5e-2 in int8, 1.0 in int4. In
            float32 at most 1e-3.
        max_loss: The largest loss on the data of `calibrate`, in percent; above it, nothing is
            written.
        force: Whether to replace an artifact that exists.
        verify: Whether to prove the graphs before they are written: against eager torch, those of
            an ONNX file against that file in ONNX Runtime. With False, nothing says that the
            graphs are right: `Artifact.parity` is None and the model card says so. The golden run
            is recorded from the model all the same, so `edgernn verify` can replay it, and
            `verify_artifact` can prove the graphs later.
        all_forms: Whether to write every form of the graphs that there is, not only those that are
            faster by the rules that were measured. `edgernn tune` measures them.

    Returns:
        The artifact on disk.

    Raises:
        SourceError: The file cannot be read as a model.
        InputError: An option does not fit the model.
        UnsupportedModelError: The model cannot be exported as asked.
        ParityError: A graph does not agree with the model, or loses more than `max_loss`.
        OutputExistsError: The folder exists and may not be replaced.
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
        fold=fold,
        opset=opset,
        state_layout=state_layout,
        state_per_layer=state_per_layer,
        int32_ids=int32_ids,
        reset=reset,
        lengths=lengths,
        batch_size=batch_size,
        steps=steps,
        rate=rate,
        vocabulary=vocabulary,
        calibrate=calibrate,
        tolerance=tolerance,
        max_loss=max_loss,
        force=force,
        verify=verify,
        all_forms=all_forms,
    )
    source = with_products(open_model(model, options), options.fold)
    stem = type(model).__name__.lower() if isinstance(model, nn.Module) else Path(model).stem
    target = options.target(stem)
    symbols = _vocabulary(source, options)
    with (
        atomic_folder(target, force) as folder,
        eager_on_one_thread(),
        stage("proving and writing the graphs", source.name),
    ):
        _export(source, symbols, options, folder, escape_unprintable(target.name))
    return Artifact.open(target)


def _export(
    source: Source | OnnxFile,
    symbols: Vocabulary | None,
    options: ExportOptions,
    folder: Path,
    name: str,
) -> None:
    """Build, transform, prove and write the graphs of a model into an empty folder."""
    built, reference = build_model(source, options, options.lengths)
    options = with_steps_of(options, built.example.constants)
    known = known_contract(built, source.description, symbols)
    contract = make_contract(known, built, reference, source.notes)
    check_request(options, contract)
    prover = _prover(options, built, reference, contract)
    user = read_calibration(options.calibrate, contract, prover.constants)
    parameters = cost_of(built.sequence).parameters
    graphs = {kind: built.graphs[kind] for kind in contract.graphs}
    folds = fold_graphs(options, graphs, source, contract.no_step)
    moments = None
    if options.precision == "int4":
        if options.verify:
            _prove_float32(prover, graphs, contract)
        moments = input_moments(prover.sampler, graphs, user, prover.constants)
    exported = apply_options(options, graphs, contract, built.layers, moments)
    drawn = replace(prover.sampler, largest_state=largest_state(graphs.values()))
    prover = replace(prover, sampler=drawn)
    _LOG.info("writing the graphs")
    lines = lines_of(graphs.values())
    for kind, model_graph in graphs.items():
        remove_exporter_notes(model_graph)
        _LOG.debug("%s.onnx has %d nodes", kind, sum(1 for _ in model_graph.graph.all_nodes()))
    exported = replace(exported, family=_family(graphs), sample_rate=_sample_rate(source, options))
    writer = ArtifactWriter(folder, graphs, name, built.model_layers, parameters)
    files = writer.write_graphs()
    adapter = PortAdapter(contract, exported)
    report = _prove(prover, files, adapter, source, built, lines) if options.verify else None
    calibration = None if user is None else measure_quality(prover.sampler, user, files, adapter)
    check_loss(calibration, options.max_loss)
    left_out: tuple[str, ...] = ()
    if report is not None and options.precision == "float32":
        report, left_out = prove_forms(prover, writer, graphs, adapter, options, files, report)
    cost = precision_report(options.precision, graphs, report, calibration)
    notes = (*exported.notes, *prover.notes(report), *precision_notes(options.precision, report))
    notes += left_out
    exported = replace(exported, notes=notes, parity="" if report is None else str(report))
    _LOG.info("writing the artifact")
    golden = prover.golden_arrays(files, adapter)
    if options.graph == "step":
        golden = golden_of_steps(golden, exported)
    written = exported if options.graph == "both" else exported.only(options.graph)
    writer.finish(written, report, golden, prover.tolerance, cost, folds)


def _prover(
    options: ExportOptions, built: Built, reference: Reference, contract: Contract
) -> Prover:
    """Return what proves the graphs, at the sizes and to the tolerance of the options.

    Raises:
        InputError: The model itself fails at the sizes.
    """
    sampler = sampler_of(built, reference, contract)
    prover = Prover(
        sampler=sampler,
        tolerance=options.tolerance or TOLERANCES[options.precision],
        constants=constant_sizes(options),
        extra_sizes=built.bounds.unproven,
        in_row=calls_in_row(built, sampler),
    )
    prover.check_constants()
    return prover


def _vocabulary(source: Source | OnnxFile, options: ExportOptions) -> Vocabulary | None:
    """Return the vocabulary as given, else the one in the metadata of a graph of edgernn's."""
    if options.vocabulary is not None:
        return Vocabulary.of(options.vocabulary)
    contract = source.contract if isinstance(source, OnnxFile) else None
    return None if contract is None else contract.vocabulary


def _sample_rate(source: Source | OnnxFile, options: ExportOptions) -> float | None:
    """Return the sample rate as given, else the one in the metadata of a graph of edgernn's."""
    if options.rate is not None:
        return float(options.rate)
    contract = source.contract if isinstance(source, OnnxFile) else None
    return None if contract is None else contract.sample_rate


def _prove(
    prover: Prover,
    files: Mapping[str, str],
    adapter: PortAdapter,
    source: Source | OnnxFile,
    built: Built,
    lines: Mapping[str, SourceLine],
) -> ParityReport:
    """Run every check; where one fails, say why and where in the model, and that nothing is left.

    Raises:
        ParityError: A check fails.
        UnsupportedModelError: A check fails, and forward branches on a size.
    """
    try:
        with locating(lines):
            return prover.report(files, adapter)
    except ParityError as error:
        if isinstance(source, Source):
            branch = find_size_branch(source.module, built.example)
            if branch is not None:
                raise UnsupportedModelError(f"`{source.name}.forward` {branch}") from error
        raise ParityError(f"{error} Nothing was written.") from error.__cause__


def _prove_float32(prover: Prover, graphs: Mapping[str, ir.Model], contract: Contract) -> None:
    """Prove graphs in float32, where the tolerance of their precision is too loose for a proof.

    Raises:
        ParityError: They do not agree with the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: f"{folder}/{kind}.onnx" for kind in graphs}
        for kind, graph in graphs.items():
            ir.save(graph, files[kind], external_data=f"{kind}.weights.bin")
        exact = replace(prover, constants={}, tolerance=TOLERANCES["float32"])
        exact.report(files, PortAdapter(contract, contract))


def _family(graphs: Mapping[str, ir.Model]) -> str:
    """Return a hash of the graphs' weights and nodes, without what exporters note beside them."""
    digest = hashlib.sha256()
    for model in graphs.values():
        digest.update(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]
