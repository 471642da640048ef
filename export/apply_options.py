"""Options checked against a model, and applied to its graphs: ports, sizes, precision, opset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE, Contract, Graph, Port, State
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export.ir.graph_names import port_of, remove_unused_initializers
from edgernn.export.options import ExportOptions
from edgernn.export.passes.batch_major_states import make_states_batch_major
from edgernn.export.passes.constant_axes import make_axes_constant
from edgernn.export.passes.float16 import to_float16
from edgernn.export.passes.int32_ids import take_int32_ids
from edgernn.export.passes.layer_states import split_states_by_layer
from edgernn.export.passes.opset import to_opset
from edgernn.export.passes.reset_input import add_reset_input
from edgernn.export.passes.share_weights import share_weights
from edgernn.export.quantize.int4 import Moments, to_int4
from edgernn.export.quantize.int8 import to_int8
from edgernn.export.quantize.weight_records import describe_kept
from edgernn.option_names import option

__all__ = ["apply_options", "check_request", "constant_sizes", "with_steps_of"]


def constant_sizes(options: ExportOptions) -> dict[str, int]:
    """Return name of an axis → its size, for the axes that the options make constant."""
    sizes = {BATCH: options.batch_size, SEQUENCE: options.steps}
    return {axis: size for axis, size in sizes.items() if size is not None}


def with_steps_of(options: ExportOptions, constants: Mapping[str, int]) -> ExportOptions:
    """Return the options with the number of steps that input specs give, among `constants`.

    Raises:
        InputError: The options have another number.
    """
    given = constants.get(SEQUENCE)
    if given is None:
        return options
    if options.steps not in (None, given):
        raise InputError(
            f"{option('steps')} is {options.steps}, but the inputs are given with {given} steps. "
            "Give one number, in one place."
        )
    return replace(options, steps=given)


def check_request(options: ExportOptions, contract: Contract) -> None:
    """Refuse options that do not fit the model.

    Raises:
        UnsupportedModelError: A step graph alone was asked for, and the model has none.
        InputError: An axis cannot have the size, or the vocabulary has another number of symbols
            than the model takes ids.
    """
    _check_vocabulary(contract)
    if options.graph == "step" and contract.step is None:
        raise UnsupportedModelError(
            f"There is no step graph: {contract.no_step} "
            f"Export it with {option('graph', 'sequence')}."
        )
    for name, axis, size in (
        ("batch_size", BATCH, options.batch_size),
        ("steps", SEQUENCE, options.steps),
    ):
        if size is not None:
            _check_size(name, axis, size, contract)


def _check_size(name: str, axis: str, size: int, contract: Contract) -> None:
    least, most = contract.least.get(axis, size), contract.most.get(axis, size)
    if not least <= size <= most:
        bound = f"at most {most}" if size > most else f"at least {least}"
        raise InputError(f"{option(name)} cannot be {size}: the model takes {bound}.")
    if axis == SEQUENCE and size % contract.hop:
        more = size + -size % contract.hop
        raise InputError(
            f"{option(name)} cannot be {size}: a chunk is whole hops of {contract.hop} steps. "
            f"Give a multiple of {contract.hop}, such as {more}."
        )
    if not any(axis in port.shape for port in contract.graphs["sequence"].inputs):
        taken = ", ".join(f"`{port}`" for port in contract.data_inputs("sequence"))
        raise InputError(
            f"{option(name)} cannot be {size}: the model has no dynamic axis `{axis}`. "
            f"It takes {taken}."
        )


def _check_vocabulary(contract: Contract) -> None:
    limits = [port for port in contract.data_inputs("sequence") if port.limit is not None]
    symbols = contract.vocabulary
    if symbols and limits and len(symbols) not in [port.limit for port in limits]:
        counts = " and ".join(f"`{port.name}` takes {port.limit} ids" for port in limits)
        raise InputError(
            f"The vocabulary has {len(symbols)} symbols, but {counts}. Give one symbol for each "
            "id, in the order of the ids."
        )


def apply_options(
    options: ExportOptions,
    models: Mapping[str, ir.Model],
    contract: Contract,
    layers: Mapping[str, int],
    moments: Moments | None = None,
) -> Contract:
    """Transform the graphs as the options say, in place, and return their contract.

    Args:
        options: What the user chose.
        models: `sequence` and, where there is one, `step` → the graph in torch's own form.
        contract: Their contract.
        layers: Name of a state → the number of layers that it belongs to.
        moments: What the products of the graph multiply, for int4.

    Raises:
        UnsupportedModelError: A graph cannot have that form.
    """
    graphs = tuple(models.values())
    states = _change_ports(options, graphs, contract.states, layers)
    named = {
        kind: {
            port.name: port for port in map(port_of, (*model.graph.inputs, *model.graph.outputs))
        }
        for kind, model in models.items()
    }
    kept = _change_operators(options, models, states, moments)
    if options.precision == "float16":
        states = tuple(
            one if one.initial is None else replace(one, initial=one.initial.astype(np.float16))
            for one in states
        )
    dynamic = any(BATCH in port.shape for ports in named.values() for port in ports.values())
    ends = () if dynamic else {end for one in states for end in (one.input, one.output)}
    ports = {
        kind: _ports(model, contract.graphs[kind], named[kind], ends)
        for kind, model in models.items()
    }
    sizes = constant_sizes(options)
    most, least = (
        {axis: size for axis, size in bounds.items() if axis not in sizes}
        for bounds in (contract.most, contract.least)
    )
    notes = (*contract.notes, *kept)
    return replace(contract, states=states, graphs=ports, most=most, least=least, notes=notes)


def _change_ports(
    options: ExportOptions,
    graphs: Sequence[ir.Model],
    states: tuple[State, ...],
    layers: Mapping[str, int],
) -> tuple[State, ...]:
    """Give the graphs the ports that the options ask for, in place, and return their states."""
    if options.state_per_layer:
        states = split_states_by_layer(graphs, states, layers)
    if options.state_layout == "batch-major":
        states = make_states_batch_major(graphs, states)
    if options.reset:
        add_reset_input(graphs, states)
    if options.int32_ids:
        take_int32_ids(graphs, states)
    return states


def _change_operators(
    options: ExportOptions,
    models: Mapping[str, ir.Model],
    states: Collection[State],
    moments: Moments | None,
) -> tuple[str, ...]:
    """Give the graphs their constant sizes, precision and opset, in place.

    Returns:
        A note on the weights that int8 leaves in float32, where there are any.
    """
    graphs = tuple(models.values())
    sizes = constant_sizes(options)
    for graph in graphs if sizes else ():
        make_axes_constant(graph, sizes)
    if options.precision == "float16":
        to_float16(graphs)
    kept: tuple[str, ...] = ()
    if options.precision == "int4":
        to_int4(models, states, moments or {})
    if options.precision == "int8":
        records = to_int8(models, states)
        kept = describe_kept(one for of_graph in records.values() for one in of_graph)
    for graph in graphs:
        to_opset(graph, options.opset)
        remove_unused_initializers(graph)
        share_weights(graph)
    return kept


def _ports(
    model: ir.Model, before: Graph, named: Mapping[str, Port], states: Collection[str]
) -> Graph:
    """Return the ports of a graph, with what the contract knows of those that it had before.

    Args:
        model: The graph as it is written.
        before: Its ports in torch's own form.
        named: Name → the port while its dynamic axes still had their names.
        states: The names of the ports of states whose batch axis needs a name.
    """

    def port(value: ir.Value, known: tuple[Port, ...]) -> Port:
        port = port_of(value)
        name = named[port.name]
        old = next((one for one in known if one.name == port.name), port)
        origin = old.origin if old.shape == name.shape else None
        port = replace(port, origin=origin, limit=old.limit)
        return port.with_axes(name.with_default_axes(states).axes)

    return Graph(
        tuple(port(value, before.inputs) for value in model.graph.inputs),
        tuple(port(value, before.outputs) for value in model.graph.outputs),
    )
