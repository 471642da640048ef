"""From a torch module and a call of it to its graphs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import onnx_ir as ir
import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.analysis.find_layers import layers_of
from edgernn.export.built import Built
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun, run_forward
from edgernn.export.call.row_orders import final_states_of
from edgernn.export.default_starts import with_default_starts
from edgernn.export.graphs import (
    constant_steps,
    graphs_of_sequence,
    graphs_of_step,
    has_own_axis,
    looks_ahead,
    loops_from_own_state,
)
from edgernn.export.ir.call_nodes import StateLabel, call_nodes, length_ports
from edgernn.export.ir.dataflow import movement_sources
from edgernn.export.ir.graph_names import name_after_model
from edgernn.export.ir.symbolic_dims import name_sizes, write_canonical
from edgernn.export.library_errors import stage
from edgernn.export.lift.lift_over_time import scan_note
from edgernn.export.lower.loops import TracedLoop
from edgernn.export.reroll.explain_loop import explain_loop
from edgernn.export.reroll.loop_structure import RerollError
from edgernn.export.reroll.reroll import LONGEST_STRIDE, RerolledModule, reroll
from edgernn.export.source.read_exported import ExportedModule
from edgernn.export.source.unrolled_loop import describe_unrolled_loop
from edgernn.export.states.contract_ports import name_ports
from edgernn.export.states.find_folded_batches import find_folded_batches
from edgernn.export.states.find_states import find_states, own_starts, uncarried_rows
from edgernn.export.states.layer_names import name_layers
from edgernn.export.states.next_values import StatePairs
from edgernn.export.states.node_states import call_states
from edgernn.export.states.pairs_by_shape import ambiguous_states, pair_options, recognise_pairs
from edgernn.export.states.state_port import StatePort, check_state_axes, pairing_notes
from edgernn.export.trace.bounds import Bounds, bounds_of
from edgernn.export.trace.size_branch import find_size_branch
from edgernn.export.trace.trace import trace
from edgernn.export.trace.trace_loops import lower_loop_body, trace_loop_bodies
from edgernn.option_names import option

__all__ = ["build_torch"]

_LOG = logging.getLogger("edgernn.export")


def build_torch(module: nn.Module, example: ExampleCall, pairs: Mapping[str, str | int]) -> Built:
    """Trace `module`, find its states, and return its graphs.

    `pairs` are the states that the user named: argument path → result path or position.

    Raises:
        UnsupportedModelError: The model has no recurrent state, or cannot be traced or lifted.
    """
    run = run_forward(module, example)
    known = _known_pairs(example, run, pairs)
    is_step = not example.has_sequence and (run.most_steps == 1 or bool(example.memory))
    with stage("tracing forward", type(module).__name__):
        module, model = _trace(module, example, run)
    carries_state = any(node.attributes.get_int("states", 1) for node in call_nodes(model.graph))
    if not known.all and not carries_state:
        reason = describe_unrolled_loop(module, example) or ambiguous_states(example, run)
        raise UnsupportedModelError(reason or _no_recurrence())
    run = run_forward(module, example)
    bodies = trace_loop_bodies(module, example, run.calls)
    _LOG.info("building the graphs")
    name_layers(model, *bodies.values())
    layers = layers_of(model, bodies)
    loops = {index: lower_loop_body(run.calls[index], body) for index, body in bodies.items()}
    bounds = _bounds(module, model, loops)
    labels = {call: loop.labels for call, loop in loops.items()}
    found = call_states(model.graph, labels)
    restarted = own_starts(found) if example.memory else []
    folded = find_folded_batches(partial(final_states_of, module), example, found)
    uncarried = "" if example.memory else uncarried_rows(found, folded)
    states = find_states(model.graph, found, run.calls, known, not example.memory, folded)
    states, start_notes = with_default_starts(module, example, run, states)
    states = tuple(_with_memory(state, example) for state in states)
    is_step = is_step and not loops_from_own_state(run, states)
    if is_step and not states:
        raise UnsupportedModelError(f"{_no_pair()} {pair_options(example, run) or ''}".strip())
    check_state_axes(model.graph, states)
    origins = name_ports(model, states, example.limits)
    lengths = length_ports(model.graph)
    ahead = looks_ahead(model.graph, loops, example) or uncarried
    unreturned = list(_unreturned(model, states, labels))
    if is_step:
        graphs = graphs_of_step(model, states, loops)
    else:
        no_step = ahead or ("" if example.has_sequence else constant_steps(run, states))
        graphs = graphs_of_sequence(
            model, loops, lengths, no_step, 0 if example.anew else example.multiple
        )
        if graphs.streaming.hop % example.multiple:
            raise UnsupportedModelError(graphs.no_chunks or graphs.no_step)
        states, origins = (*states, *graphs.contexts), origins.with_contexts(graphs.contexts)
    both = [graph for graph in (graphs.sequence, graphs.step) if graph is not None]
    for graph in both:
        name_after_model(graph)
        write_canonical(graph)
    notes = (
        *example.notes,
        *(f"`{name}` is an input that forward ignores." for name in origins.unused),
        *unreturned,
        *(_padded(path) for path in run.padded),
        *pairing_notes(states),
        *start_notes,
        *map(_restarts, restarted),
        *(_unnamed(path) for path in example.state_updates if pairs and path not in pairs),
        *dict.fromkeys(scan_note(one) for one in graphs.scan_reasons),
        *dict.fromkeys(name_sizes(both, {*example.sizes, BATCH, SEQUENCE})),
    )
    longest_first = any(call.batch_sizes is not None and call.order is None for call in run.calls)
    return Built(
        sequence=graphs.sequence,
        step=graphs.step,
        no_step=graphs.no_step,
        states=states,
        origins=origins,
        module=module,
        example=example,
        is_step=is_step,
        carry=not ahead and (is_step or example.has_sequence),
        constant_batch=run.batch,
        layers={
            state.name: run.calls[state.call].num_layers
            for state in states
            if state.call is not None
        },
        model_layers=layers,
        lengths=dict.fromkeys(lengths, longest_first),
        notes=notes,
        bounds=bounds,
        streaming=graphs.streaming,
        no_chunks=graphs.no_chunks,
    )


def _known_pairs(
    example: ExampleCall, run: ForwardRun, pairs: Mapping[str, str | int]
) -> StatePairs:
    """Return which results are the next values of which arguments: as named, or as recognised."""
    memory = {name: name for name in example.memory}
    if pairs:
        return StatePairs(pairs, proven=memory)
    given, results = dict(example.kwargs), dict(run.results)
    for name in memory:
        del given[name], results[name]
    others = (
        {}
        if run.calls
        else recognise_pairs(replace(example, kwargs=given), replace(run, results=results))
    )
    return StatePairs({}, example.state_updates, others, memory)


def _with_memory(state: StatePort, example: ExampleCall) -> StatePort:
    """Return a state, with what the module holds before its first call where it is memory."""
    if state.argument not in example.memory:
        return state
    shape = example.shapes[state.argument]
    value: torch.Tensor = example.kwargs[state.argument]
    if BATCH in shape:
        value = value.narrow(shape.index(BATCH), 0, 1)
    return replace(state, memory=True, initial=value.numpy() if value.any() else None)


def _bounds(module: nn.Module, model: ir.Model, loops: Mapping[int, TracedLoop]) -> Bounds:
    """Return the sizes for which a trace agrees with the model, all its loops included."""
    bounds = bounds_of(model) & (module.bounds if isinstance(module, RerolledModule) else Bounds())
    for loop in loops.values():
        bounds &= bounds_of(loop.body)
    return bounds


def _trace(module: nn.Module, example: ExampleCall, run: ForwardRun) -> tuple[nn.Module, ir.Model]:
    """Return the module that is traced, whose loops over time are one call each, and its trace."""
    if _loops_over_time(module, example, run):
        return _trace_rerolled(module, example)
    try:
        return module, trace(module, example)
    except UnsupportedModelError:
        if isinstance(module, ExportedModule):
            raise  # its loops are written out: of a longer sequence it would read the first steps
        with contextlib.suppress(RerollError, UnsupportedModelError):
            made = reroll(module, example)
            return made, trace(made, example, module)
        raise


def _trace_rerolled(module: nn.Module, example: ExampleCall) -> tuple[nn.Module, ir.Model]:
    """Return the module with its loops one call each, and its trace.

    A forward that loops over constant sizes only, of which it has a largest, is traced as it is.

    Raises:
        UnsupportedModelError: A loop cannot be written for any number of steps.
    """
    try:
        made = reroll(module, example)
    except RerollError as error:
        branch = find_size_branch(module, example)
        if branch is not None and branch.is_bound:
            return module, trace(module, example)
        raise UnsupportedModelError(explain_loop(module, example, str(error))) from error
    return made, trace(made, example, module)


def _loops_over_time(module: nn.Module, example: ExampleCall, run: ForwardRun) -> bool:
    """Return whether forward calls more functions the longer an axis is."""
    return any(
        _function_count(module, example.resized({symbol: size + more})) not in (run.functions, None)
        for symbol, size in example.sizes.items()
        if symbol != BATCH
        for more in (1, LONGEST_STRIDE)
    )


def _function_count(module: nn.Module, example: ExampleCall) -> int | None:
    """Return how many functions forward calls, or None where it fails."""
    try:
        return run_forward(module, example).functions
    except Exception:
        return None  # such as more steps than it has positions for


def _unreturned(
    model: ir.Model, states: Sequence[StatePort], labels: Mapping[int, Sequence[StateLabel]]
) -> Iterator[str]:
    """Note which arguments start a layer, but have no next value in what forward returns."""
    inputs = {state.input for state in states}
    layers: dict[ir.Value, str] = {}
    for state in call_states(model.graph, labels):
        for source in movement_sources(state.initial):
            layers.setdefault(source, state.layer)
    for source, layer in layers.items():
        if source.is_graph_input() and source.name not in inputs and not has_own_axis(source):
            yield (
                f"`{source.name}` starts layer `{layer}` at every call: "
                "forward returns no next value of it that could be recognised. If it does, "
                f"name it with {option('states', {source.name: 'OUTPUT'})}."
            )


def _no_recurrence() -> str:
    return (
        "The model has no recurrent layer: forward calls none of nn.LSTM, nn.GRU, nn.RNN and their "
        "cells, and no loop over time in it carries anything from step to step. If it is one step "
        "of a recurrence of its own, it must take its state as an argument and return the next "
        f"one; name it with {option('states', {'INPUT': 'OUTPUT'})}. A model without state needs "
        "torch.onnx.export only."
    )


def _no_pair() -> str:
    return (
        "forward is one step of a recurrence, but nothing that it returns goes back in as one of "
        "its arguments and can be told from other tensors. It must take its state and return the "
        f"next one, of the same shape; name it: {option('states', {'INPUT': 'OUTPUT'})}."
    )


def _restarts(layer: str) -> str:
    return (
        f"Layer `{layer}` starts anew at every call of the graph, as at every call of forward, "
        "which keeps other memory from call to call."
    )


def _padded(path: str) -> str:
    return (
        f"forward returns a PackedSequence as {path or 'the result'}: the graph gives it padded "
        "with zeros, laid out as what was packed."
    )


def _unnamed(path: str) -> str:
    return (
        f"forward writes into `{path}`, which is none of the states that were named: hosts get its "
        f"new value only where forward returns it. Where it is one, name it with "
        f"{option('states', {path: path})} beside the others."
    )
