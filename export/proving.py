"""From what was built to what proves it: the reference, and the contract that is to be proven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx_ir as ir
from torch import nn

from edgernn.contract import BATCH, SEQUENCE, Contract
from edgernn.export.built import Built, stacked_axes
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.dataflow import id_axis
from edgernn.export.proof.eager_reference import AsGiven, Eager, Reference
from edgernn.export.proof.full_lengths import full_lengths
from edgernn.export.proof.measured_bounds import settled_bounds
from edgernn.export.proof.parity import Prover
from edgernn.export.source.load_source import Source
from edgernn.export.states.contract_ports import contract_states, graph_ports, order_notes
from edgernn.join_chunks import BATCH_OUTER, SEQUENCE_OUTER
from edgernn.printable import printable
from edgernn.vocabulary import Vocabulary

__all__ = ["bounded", "prover_of", "reference_of", "usable"]


def reference_of(given: nn.Module, built: Built, name: str) -> Reference:
    """Return the module as it was given, and beside it the one that was traced if that is other."""
    assert built.module is not None
    axes = stacked_axes(built)
    traced = Eager(built.module, built.traced, built.states, axes, name)
    if built.module is given:
        return traced
    arguments = [
        replace(state, call=None, last_call=None)
        for state in built.states
        if state.argument is not None
    ]
    return AsGiven(Eager(given, built.traced, arguments, axes, name), traced)


def prover_of(
    source: Source | OnnxFile, built: Built, reference: Reference, vocabulary: Vocabulary | None
) -> Prover:
    """Return what proves the graphs, its contract as if the state could be carried on."""
    return _named_axes(built, _unsettled(source, built, reference, vocabulary))


def bounded(built: Built, prover: Prover) -> Prover:
    """Return the prover with the bounds that the sequence graph really has, and notes of them."""
    contract, notes = prover.contract, list[str]()
    if built.module is not None:  # those of a file are known
        contract = settled_bounds(prover, built.sequence)
        full = full_lengths(replace(prover, contract=contract), built.sequence)
        contract = replace(contract, full_lengths=full)
        notes += replace(built.bounds, most=contract.most, least=contract.least).notes
    notes += [
        f"The longest of `{name}` must be as long as the sequences: forward pads to it."
        for name in contract.full_lengths
    ]
    return replace(prover, contract=replace(contract, notes=(*contract.notes, *notes)))


def usable(built: Built, prover: Prover) -> tuple[dict[str, ir.Model], Prover]:
    """Return the graphs that are right for the model, and the prover with its contract settled.

    A model whose state cannot be carried on has no step graph.
    """
    contract, reason = prover.contract, built.no_step
    least = contract.least.get(SEQUENCE, 1)
    if least > 1:
        reason = reason or f"forward takes at least {least} steps."
        contract = replace(contract, carry=False)
    if contract.carry:
        broken = prover.not_carried()
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
        graphs={kind: contract.graphs[kind] for kind in models},
    )
    return models, replace(prover, contract=contract)


def _unsettled(
    source: Source | OnnxFile, built: Built, reference: Reference, vocabulary: Vocabulary | None
) -> Prover:
    """Return the same with axes that count sequences and steps together as the trace named them."""
    kinds = {"sequence": built.sequence, "step": built.step}
    graphs = {
        kind: graph_ports(model, built.origins)
        for kind, model in kinds.items()
        if model is not None
    }
    contract = Contract(
        family="",
        source=printable(source.description),
        states=contract_states(built.states),
        carry=built.carry,
        graphs=graphs,
        vocabulary=vocabulary,
        lengths=tuple(built.lengths),
        full_lengths=_known_full(source, built),
        notes=(*source.notes, *built.notes, *order_notes(graphs["sequence"])),
        most=built.bounds.most,
        least=built.bounds.least,
    )
    tensors = {leaf.path: leaf for leaf in built.traced.tensors}
    inputs = contract.data_inputs("sequence")
    return Prover(
        contract,
        reference,
        {port.name: tensors[port.origin or ""].tensor.numpy() for port in inputs},
        {BATCH: built.constant_batch, SEQUENCE: 1, **built.traced.sizes},
        built.lengths,
        tuple(state.name for state in built.states if state.free),
        apart=built.bounds.apart,
        below=_bounding_axes(built),
    )


def _known_full(source: Source | OnnxFile, built: Built) -> tuple[str, ...]:
    """Return the inputs of full lengths that the contract of a file names."""
    known = source.contract if isinstance(source, OnnxFile) else None
    full = () if known is None else known.full_lengths
    paths = built.origins.inputs
    return tuple(name for name in built.lengths if {name, paths.get(name)} & {*full})


def _bounding_axes(built: Built) -> dict[str, str]:
    """Return the inputs whose integers are below the size of an axis: name → that axis."""
    found = {port.name or "": id_axis(port) for port in built.sequence.graph.inputs}
    said = {
        name: built.traced.limits.get(path or "") for name, path in built.origins.inputs.items()
    }
    axes = {**found, **{name: axis for name, axis in said.items() if axis is not None}}
    return {name: axis for name, axis in axes.items() if isinstance(axis, str)}


def _named_axes(built: Built, prover: Prover) -> Prover:
    """Name axes that count sequences and steps together as the model does: the outer one first."""
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
