"""The whole way from a model to an artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from edgernn.artifact import Artifact, staged
from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.errors import ContractError, InputError, UnsupportedModelError
from edgernn.export.axes import infer_example, proven_axes
from edgernn.export.build import LOOP_CARRIES, Built, build
from edgernn.export.eager import Eager
from edgernn.export.files import Files
from edgernn.export.inputs import Example, example_from
from edgernn.export.parity import Prover
from edgernn.export.ports import contract_states, graph_ports
from edgernn.export.source import Source, load_source
from edgernn.parts import BATCH_OUTER, SEQUENCE_OUTER
from edgernn.report import ParityReport
from edgernn.vocabulary import Vocabulary

__all__ = ["export_model", "verify_artifact"]

_GRAPHS = ("both", "sequence", "step")


def export_model(
    model: nn.Module | str | Path,
    path: str | Path | None = None,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | torch.Tensor | None = None,
    states: Mapping[str, str | int] | None = None,
    graph: str = "both",
    precision: str = "float32",
    opset: int = 18,
    vocabulary: Vocabulary | Sequence[str] | str | Path | None = None,
    module: str | None = None,
    trust_pickle: bool = False,
    force: bool = False,
    verify: bool = True,
) -> Artifact:
    """Export a recurrent model as ONNX graphs with their state, proven against eager torch.

    Args:
        model: An `nn.Module`, or a file: TorchScript archive, torch.export archive, state_dict
            (.pt, .pth, .safetensors), pickled module.
        path: The folder to write; by default the model's name with `.edgernn` in the current one.
        inputs: forward's arguments: example tensors as a tuple or by name, or specs such as
            `"tokens:int64[batch,sequence]"`. Inferred where None.
        states: States that cannot be recognised: argument → result of forward, by path or place.
        graph: `both`, `sequence` or `step`.
        precision: Of weights and computation: `float32`.
        opset: ONNX operator set of the graphs.
        vocabulary: Symbols in the order of their ids, or a vocabulary file.
        module: `FILE.py:FACTORY` that makes the module which a state_dict belongs to.
        trust_pickle: Whether a pickled module may be unpickled, which runs code of its maker.
        force: Whether to replace an artifact that exists.
        verify: Whether to prove the graphs against eager torch before they are written.

    Returns:
        The artifact on disk.

    Raises:
        EdgernnError: One of its children, which `edgernn.errors` tells apart. Nothing is written.
    """
    if graph not in _GRAPHS:
        raise InputError(f"`{graph}` is not a choice of graphs; known are: {', '.join(_GRAPHS)}.")
    source = load_source(model, module=module, trust_pickle=trust_pickle)
    target = Path(path) if path is not None else Path(f"{_stem(model)}.edgernn")
    symbols = None if vocabulary is None else Vocabulary.of(vocabulary)
    with staged(target, force) as folder:
        example = _example(source.module, inputs)
        built = build(source.module, example, states or {})
        prover = _named_axes(built, _prover(source, built, symbols))
        models, prover = _usable(built, prover)
        _refuse_missing(graph, prover.contract)
        files = Files(folder, models, opset)
        files.save(prover.contract)
        report = prover.report(files.paths, "eager torch") if verify else None
        golden = prover.golden(2, 8)
        contract = _chosen(prover.contract, graph, report)
        files.finish(contract, report, golden)
    return Artifact.open(target)


def verify_artifact(
    artifact: Artifact,
    model: nn.Module | str | Path,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | torch.Tensor | None = None,
    states: Mapping[str, str | int] | None = None,
    module: str | None = None,
    trust_pickle: bool = False,
) -> ParityReport:
    """Prove an artifact against the model that it was made from, in full.

    Args:
        artifact: What `export_model` wrote.
        model: As for `export_model`, like the other arguments.
        inputs: See there.
        states: See there.
        module: See there.
        trust_pickle: See there.

    Raises:
        ParityError: A graph does not agree with the model.
        ContractError: The model has other ports than the artifact.
    """
    source = load_source(model, module=module, trust_pickle=trust_pickle)
    built = build(source.module, _example(source.module, inputs), states or {})
    prover = _named_axes(built, _prover(source, built, artifact.contract.vocabulary))
    ours, theirs = prover.contract.graphs["sequence"], artifact.contract
    for kind, graph in theirs.graphs.items():
        names = [port.name for port in (*graph.inputs, *graph.outputs)]
        if names != [port.name for port in (*ours.inputs, *ours.outputs)]:
            raise ContractError(
                f"The {kind} graph of `{artifact.path.name}` has the ports {', '.join(names)}; the "
                "model would give others. It is not the model that the artifact was made from."
            )
    contract = replace(theirs, graphs={"sequence": ours, **theirs.graphs})
    paths = {kind: str(artifact.checked(kind)) for kind in theirs.graphs}
    return replace(prover, contract=contract).report(paths, "eager torch")


def _stem(model: nn.Module | str | Path) -> str:
    return type(model).__name__.lower() if isinstance(model, nn.Module) else Path(model).stem


def _example(module: nn.Module, inputs: Any) -> Example:
    if inputs is None or (isinstance(inputs, Sequence) and not inputs):
        return infer_example(module)
    return proven_axes(module, example_from(module, inputs))


def _prover(source: Source, built: Built, vocabulary: Vocabulary | None) -> Prover:
    """Return what proves the graphs, with the contract of both, as if the state could be carried."""
    kinds = {"sequence": built.sequence, "step": built.step}
    graphs = {
        kind: graph_ports(model, built.origins)
        for kind, model in kinds.items()
        if model is not None
    }
    contract = Contract(
        family="",
        source=source.description,
        states=contract_states(built.states),
        carry=not built.bidirectional,
        graphs=graphs,
        vocabulary=vocabulary,
        lengths=tuple(built.lengths),
        notes=(*source.notes, *built.notes),
    )
    sequence_axes = None
    if built.form == "step":
        ports = (*graphs["sequence"].inputs, *graphs["sequence"].outputs)
        stacked = [port for port in ports if SEQUENCE in port.shape and port.origin is not None]
        sequence_axes = {port.origin or "": port.shape.index(SEQUENCE) for port in stacked}
    tensors = {leaf.path: leaf for leaf in built.traced.leaves}
    sizes = {
        symbol: tensor.tensor.shape[axis]
        for tensor in tensors.values()
        for axis, symbol in enumerate(tensor.shape)
        if isinstance(symbol, str)
    }
    inputs = contract.data_inputs("sequence")
    return Prover(
        contract,
        Eager(source.module, built.traced, built.states, sequence_axes),
        {port.name: tensors[port.origin or ""].tensor.numpy() for port in inputs},
        sizes,
        (sizes.get(BATCH, built.constant_batch), sizes.get(SEQUENCE, 1)),
        built.lengths,
    )


def _named_axes(built: Built, prover: Prover) -> Prover:
    """Name axes that count sequences and steps together by what torch does: the outer one first."""
    outer = prover.outer_axes()
    if not outer:
        return prover
    for value in built.sequence.graph.outputs:
        if value.name in outer and value.shape is not None:
            value.shape = ir.Shape(_with_outer([*value.shape], outer[value.name]))
    graph = graph_ports(built.sequence, built.origins)
    graphs = {**prover.contract.graphs, "sequence": graph}
    return replace(prover, contract=replace(prover.contract, graphs=graphs))


def _with_outer(dims: list[Any], symbol: str) -> list[Any]:
    flat = (BATCH_OUTER, SEQUENCE_OUTER)
    return [
        symbol if isinstance(dim, ir.SymbolicDim) and dim.value in flat else dim for dim in dims
    ]


def _usable(built: Built, prover: Prover) -> tuple[dict[str, ir.Model], Prover]:
    """Return the graphs that are right for the model, and the prover with its contract settled.

    A model whose state cannot be carried on has no step graph.
    """
    contract, reason = prover.contract, built.no_step
    if contract.carry:
        broken = prover.not_carried()
        if broken and built.form == "loop":
            raise UnsupportedModelError(LOOP_CARRIES.format(broken.rstrip(".")))
        reason = broken or reason
        contract = replace(contract, carry=broken is None)
    models = {"sequence": built.sequence}
    if built.step is not None and contract.carry:
        models["step"] = built.step
    else:
        note = f"There is no step graph: {reason}"
        contract = replace(contract, notes=(*contract.notes, note))
    contract = replace(
        contract,
        family=_family(models),
        graphs={kind: contract.graphs[kind] for kind in models},
    )
    return models, replace(prover, contract=contract)


def _refuse_missing(graph: str, contract: Contract) -> None:
    if graph == "step" and contract.step is None:
        raise UnsupportedModelError(f"{contract.notes[-1]} Export it with --graph sequence.")


def _chosen(contract: Contract, graph: str, report: ParityReport | None) -> Contract:
    parity = "" if report is None else str(report)
    contract = replace(contract, parity=parity)
    return contract if graph == "both" else contract.only(graph)


def _family(models: Mapping[str, ir.Model]) -> str:
    """Return a hash of the graphs' weights and nodes."""
    digest = hashlib.sha256()
    for model in models.values():
        digest.update(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]
