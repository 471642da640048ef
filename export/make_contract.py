"""What graphs promise: the contract, from what was built and from what the model does when it runs.

A graph does not tell whether a state can be carried on, for which sizes it agrees with the model,
and which factor of a batch*sequence axis is the outer one. The model is run to find out, under a
contract of what is known so far; the contract itself is made once, of all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE, Contract, Graph, Port
from edgernn.export.built import Built
from edgernn.export.ir.dataflow import id_axis
from edgernn.export.proof.calls_in_row import CallsInRow
from edgernn.export.proof.carry import why_not_carried
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.measured_bounds import find_full_lengths, measure_bounds
from edgernn.export.proof.outer_axes import find_outer_axes
from edgernn.export.proof.reference import Reference
from edgernn.export.states.contract_ports import contract_states, order_notes
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort
from edgernn.join_chunks import BATCH_OUTER, SEQUENCE_OUTER
from edgernn.untrusted_text import escape_unprintable
from edgernn.vocabulary import Vocabulary

__all__ = ["calls_in_row", "known_contract", "make_contract", "name_outer_axes", "sampler_of"]

_CALLS_DIFFER = (
    "forward keeps memory from call to call, and a call on a whole sequence gives other numbers "
    "than calls on its parts. A call of the graph is a call of forward: divide a sequence into "
    "calls as for the model."
)


def sampler_of(built: Built, reference: Reference, contract: Contract) -> InputSampler:
    """Return what the reference is run on, under a contract in torch's ports."""
    tensors = {leaf.path: leaf.tensor for leaf in built.example.tensors}
    return InputSampler(
        contract,
        reference,
        examples={
            port.name: tensors[port.origin or ""].numpy()
            for port in contract.data_inputs("sequence")
        },
        traced_sizes={BATCH: built.constant_batch, SEQUENCE: 1, **built.example.sizes},
        lengths=built.lengths,
        free_states=tuple(state.name for state in built.states if state.any_value),
        index_axes=_bounding_axes(built),
        contexts=tuple(state.name for state in built.states if state.context),
    )


def calls_in_row(built: Built, sampler: InputSampler) -> CallsInRow | None:
    """Return what compares calls in a row, where forward changes the module."""
    if built.module_calls is None:
        return None
    return CallsInRow(sampler, built.module_calls, built.states, built.stacked_axes)


def name_outer_axes(built: Built, reference: Reference) -> None:
    """Name axes of batch*sequence elements after their outer factor first, in place.

    Args:
        built: The graphs, in torch's ports.
        reference: The model, which is run to find out.
    """
    contract = known_contract(built, "", None)(
        carry=built.carry, most=built.bounds.most, least=built.bounds.least
    )
    outer = find_outer_axes(sampler_of(built, reference, contract))
    for value in built.sequence.graph.outputs:
        if value.name in outer and value.shape is not None:
            value.shape = ir.Shape(
                outer[value.name]
                if isinstance(dim, ir.SymbolicDim) and dim.value in (BATCH_OUTER, SEQUENCE_OUTER)
                else dim
                for dim in value.shape
            )


def known_contract(
    built: Built, source: str, vocabulary: Vocabulary | None
) -> Callable[..., Contract]:
    """Return a contract that lacks only what running the model shows: carry and bounds.

    Args:
        built: The graphs, in torch's ports.
        source: What the model was, in one line.
        vocabulary: The symbols of its ids and scores.
    """
    fields: dict[str, Any] = {
        "family": "",
        "source": escape_unprintable(source),
        "states": contract_states(built.states),
        "graphs": built.ports,
        "vocabulary": vocabulary,
        "lengths": tuple(built.lengths),
        "full_lengths": built.full_lengths,
        "hop": built.streaming.hop,
        "delays": built.streaming.delays,
        "tails": built.streaming.tails,
        "padding": built.streaming.padding,
    }
    return lambda **more: Contract(**{**fields, **more})


def make_contract(
    known: Callable[..., Contract], built: Built, reference: Reference, notes: tuple[str, ...]
) -> Contract:
    """Run the model to find out what the graphs do not tell, and return the whole contract.

    A model whose state cannot be carried on has no step graph. Whether states carry is not measured
    where the graphs have contexts, which the model does not have: the comparisons of the graphs
    show it. `notes` are those of the model's source.
    """
    bounds, full = built.bounds, built.full_lengths
    if built.module is not None:  # those of a file are known
        noted = known(carry=built.carry, most=bounds.most, least=bounds.least)
        bounds = measure_bounds(sampler_of(built, reference, noted), bounds, built.sequence)
        measured = known(carry=built.carry, most=bounds.most, least=bounds.least)
        full = find_full_lengths(sampler_of(built, reference, measured), built.sequence)
    extent = {"most": bounds.most, "least": bounds.least, "full_lengths": full}
    # a graph of an artifact has contexts and delays already
    takes_chunks = any(state.context for state in built.states) or built.streaming != Streaming()
    least = 1 if takes_chunks else bounds.least.get(SEQUENCE, 1)
    divisible = built.carry and least == 1
    short = built.no_chunks or f"forward takes at least {least} steps."
    no_step = built.no_step or (short if least > 1 else "")
    if divisible and not takes_chunks:
        reason = why_not_carried(sampler_of(built, reference, known(carry=True, **extent)))
        if built.remembers:
            reason = reason.removeprefix("its state cannot be carried on: ")
        divisible, no_step = not reason, (reason and built.no_chunks) or reason or no_step
    # a module that keeps memory from call to call carries its state, however its calls differ
    carry = divisible or built.remembers
    graphs = _with_limited_counters(built, bounds.most)
    return known(
        **extent,
        carry=carry,
        divisible=divisible or not carry,
        graphs={kind: graph for kind, graph in graphs.items() if divisible or kind == "sequence"},
        no_step=no_step,
        notes=(
            *notes,
            *built.notes,
            *order_notes(graphs["sequence"]),
            *(bounds.notes if built.module is not None else ()),
            *(
                f"The longest of `{name}` must be as long as the sequences: forward pads to it."
                for name in full
            ),
            *([_CALLS_DIFFER] if carry and not divisible else ()),
            *([f"There is no step graph: {no_step}"] if no_step else ()),
        ),
    )


def _with_limited_counters(built: Built, most: Mapping[str, int]) -> dict[str, Graph]:
    """Return the ports of each graph, with the most hops that a state counts as its limit."""
    graphs = built.ports
    if SEQUENCE not in most or built.step is None:
        return graphs
    counters = _hop_counters(built.step.graph, built.states)
    limit = most[SEQUENCE] // built.streaming.hop

    def limited(port: Port) -> Port:
        if port.name not in counters:
            return port
        return replace(port, limit=limit if port.limit is None else min(limit, port.limit))

    return {
        kind: Graph(tuple(map(limited, graph.inputs)), graph.outputs)
        for kind, graph in graphs.items()
    }


def _hop_counters(step: ir.Graph, states: Sequence[StatePort]) -> set[str]:
    """Return the inputs of contexts that are one more after each call of a step graph."""
    inputs = {value.name: value for value in step.inputs}
    outputs = {value.name: value.producer() for value in step.outputs}
    counters: set[str] = set()
    for state in (one for one in states if one.context):
        before, node = inputs[state.input], outputs[state.output]
        if node is not None and node.op_type == "Add" and before in node.inputs:
            other = node.inputs[node.inputs[0] is before]
            number = None if other is None else ir.convenience.get_const_tensor(other)
            if (
                number is not None
                and before.dtype == ir.DataType.INT64
                and (number.numpy() == 1).all()
            ):
                counters.add(state.input)
    return counters


def _bounding_axes(built: Built) -> dict[str, str]:
    """Return the inputs whose integers are below the size of an axis: name → that axis."""
    looked_up = {port.name or "": id_axis(port) for port in built.sequence.graph.inputs}
    given = built.example.limits
    limits = {
        name: given.get(path or "", looked_up.get(name))
        for name, path in built.origins.inputs.items()
    }
    return {name: axis for name, axis in limits.items() if isinstance(axis, str)}
