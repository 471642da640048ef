"""The two graphs of a model: from a torch module to the sequence graph and the step graph.

A forward that takes whole sequences is traced as it is, and its step graph is the same graph at one
time index. A forward that is one step, or that loops over time in Python, is traced at one step,
and its sequence graph is that step lifted over time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.built import Built
from edgernn.export.call.example_call import ExampleCall, ForwardRun, run_forward
from edgernn.export.ir.dataflow import movement_sources
from edgernn.export.ir.fold_constants import fold_constants
from edgernn.export.ir.initializer_names import name_after_model
from edgernn.export.ir.symbolic_dims import name_sizes, write_canonical
from edgernn.export.library_errors import stage
from edgernn.export.lift.lift import lift
from edgernn.export.lower.layers import length_ports, lower, recurrent_calls
from edgernn.export.lower.loops import Iteration, lower_loops
from edgernn.export.lower.projection import scan_projection
from edgernn.export.lower.running_results import write_running
from edgernn.export.reroll.loop_refusal import branch_on_size, explained
from edgernn.export.reroll.reroll import LONGEST_STRIDE, NotRolledError, Rolled, rolled
from edgernn.export.source.read_exported import ExportedModule
from edgernn.export.source.unrolled_loop import describe_unrolled_loop
from edgernn.export.states.ambiguous_states import ambiguous_states, pair_options
from edgernn.export.states.contract_ports import name_ports, with_limits
from edgernn.export.states.pairing import (
    Pairs,
    check_state_axes,
    pairing_notes,
    recognised_states,
)
from edgernn.export.states.slots import StatePort, layer_names, state_slots
from edgernn.export.states.state_ports import find_states
from edgernn.export.step.at_one_step import at_one_step, gemm_form
from edgernn.export.trace.bounds import Bounds, bounds_of
from edgernn.export.trace.iterations import iterations
from edgernn.export.trace.trace import trace

__all__ = ["build"]


_STATELESS = (
    "The model has no recurrent layer: forward calls none of nn.LSTM, nn.GRU, nn.RNN and their "
    "cells, and no loop over time in it carries anything from step to step. If it is one step of "
    "a recurrence of its own, it must take its state as an argument and return the next one; name "
    "it with --state INPUT=OUTPUT. A model without state needs torch.onnx.export only."
)


_NO_PAIR = (
    "forward is one step of a recurrence, but nothing that it returns goes back in as one of its "
    "arguments and can be told from other tensors. It must take its state and return the next one, "
    "of the same shape; name it: --state INPUT=OUTPUT."
)


_PADDED = (
    "forward returns a PackedSequence as {}: the graph gives it padded with zeros, laid out as "
    "what was packed."
)


def build(module: nn.Module, example: ExampleCall, pairs: Mapping[str, str | int]) -> Built:
    """Trace `module` and return its graphs.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.
        pairs: States named by the user: argument path → result path or position.

    Raises:
        UnsupportedModelError: The model has no recurrent state, or cannot be traced or lifted.
    """
    run = run_forward(module, example)
    told = Pairs(pairs) if pairs else Pairs({}, example.state_updates, _recognised(example, run))
    form = "whole" if _has(example, SEQUENCE) or _fixed_steps(run) > 1 else "step"
    with stage("tracing forward", type(module).__name__):
        module, model = _traced(module, example, run)
    bounds = bounds_of(model) & (module.bounds if isinstance(module, Rolled) else Bounds())
    taken: dict[str, int] = {}
    layer_names(model, taken)
    if not told.all and not any(map(_is_recurrent, recurrent_calls(model.graph))):
        reason = describe_unrolled_loop(module, example) or ambiguous_states(example, run)
        raise UnsupportedModelError(reason or _STATELESS)
    run = run_forward(module, example)
    loops = iterations(module, example, run.calls, taken)
    for one in loops.values():
        bounds &= bounds_of(one.model)
    labels = {call: one.labels for call, one in loops.items()}
    states = find_states(model, run.calls, told, labels)
    written_out = _loops_from_own_state(run, states)
    if written_out and not _has(example, SEQUENCE):
        form = "whole"
    if form == "step" and not states:
        raise UnsupportedModelError(f"{_NO_PAIR} {pair_options(example, run) or ''}".strip())
    check_state_axes(model.graph, states)
    origins = name_ports(model, states)
    origins = with_limits(origins, example.limits)
    lengths = length_ports(model.graph)
    backward = _backward(model, loops)
    notes = [
        *example.notes,
        *(f"`{name}` is an input that forward ignores." for name in origins.unused),
        *_unpaired(model, states, loops),
        *(_PADDED.format(path or "the result") for path in run.padded),
        *pairing_notes(states),
        *(_unwritten(path) for path in example.state_updates if pairs and path not in pairs),
    ]
    no_step = backward or _tied_steps(example)
    if form == "whole" and not _has(example, SEQUENCE):
        fixed = f"fixes its sequences to {_fixed_steps(run)} steps"
        looped = "loops over a constant number of steps, from a state of its own at every call"
        no_step = no_step or f"forward {looped if written_out else fixed}."
    if form == "step":
        graphs = _lifted(model, states, loops)
    else:
        graphs = _lowered(model, loops, lengths, no_step)
    notes += [f"The sequence graph has a Scan: {reason}." for reason in dict.fromkeys(graphs.scans)]
    both = [*filter(None, (graphs.sequence, graphs.step))]
    for graph in both:
        name_after_model(graph)
        write_canonical(graph)
    notes += dict.fromkeys(name_sizes(both, {*example.sizes, BATCH, SEQUENCE}))
    ordered = any(call.batch_sizes is not None and call.order is None for call in run.calls)
    return Built(
        graphs.sequence,
        graphs.step,
        graphs.no_step,
        states,
        origins,
        module,
        example,
        form,
        not (backward or _tied_steps(example)) and (form == "step" or _has(example, SEQUENCE)),
        run.calls[0].sizes[1] if run.calls else 1,
        {
            state.name: run.calls[state.call].num_layers
            for state in states
            if state.call is not None
        },
        dict.fromkeys(lengths, ordered),
        tuple(notes),
        bounds,
    )


def _tied_steps(example: ExampleCall) -> str:
    """Say which input has a number of entries of its own for every step; nothing where none has."""
    tied = {path: size for (path, _), size in example.derived_axes.items() if SEQUENCE in size}
    return next(
        (
            f"`{path}` has `{size}` entries where others have `{SEQUENCE}`: a step of it is not "
            "one entry."
            for path, size in tied.items()
        ),
        "",
    )


def _recognised(example: ExampleCall, run: ForwardRun) -> Mapping[str, str]:
    return {} if run.calls else recognised_states(example, run)


def _unwritten(path: str) -> str:
    return (
        f"forward writes into `{path}`, which is none of the states that were named: hosts get its "
        f"new value only where forward returns it. Where it is one, name it with --state "
        f"{path}={path} beside the others."
    )


def _traced(module: nn.Module, example: ExampleCall, run: ForwardRun) -> tuple[nn.Module, ir.Model]:
    """Return the graph of a module, and the module; its loops are one call each in both."""
    if _loops(module, example, run):
        try:
            made = rolled(module, example)
        except NotRolledError as error:
            branch = branch_on_size(module, example)
            if branch is not None and branch.is_bound:
                return module, trace(module, example)
            raise UnsupportedModelError(explained(module, example, str(error))) from error
        return made, trace(made, example, module)
    try:
        return module, trace(module, example)
    except UnsupportedModelError:
        if isinstance(module, ExportedModule):
            raise  # its loops are written out: of a longer sequence it would read the first steps
        with contextlib.suppress(NotRolledError, UnsupportedModelError):
            made = rolled(module, example)
            return made, trace(made, example, module)
        raise


def _loops(module: nn.Module, example: ExampleCall, run: ForwardRun) -> bool:
    """Return whether forward calls more functions the longer an axis is."""
    return any(
        _functions(module, example.resized({symbol: size + more})) not in (run.functions, None)
        for symbol, size in example.sizes.items()
        if symbol != BATCH
        for more in (1, LONGEST_STRIDE)
    )


def _functions(module: nn.Module, example: ExampleCall) -> int | None:
    """Return how many functions forward calls, or None where it fails."""
    try:
        return run_forward(module, example).functions
    except Exception:
        return None  # such as more steps than it has positions for


@dataclass(frozen=True)
class _Graphs:
    """What a trace becomes.

    Attributes:
        sequence: The sequence graph.
        step: The step graph, or None.
        no_step: Why there is none.
        scans: Why something in the sequence graph is a Scan, for each that is one.
    """

    sequence: ir.Model
    step: ir.Model | None
    no_step: str
    scans: list[str]


def _lifted(
    model: ir.Model, states: Sequence[StatePort], loops: Mapping[int, Iteration]
) -> _Graphs:
    """Return the graphs of a forward that is one step; its ports are named."""
    lower(model)
    write_running(model)
    fold_constants(model)
    lower_loops(model, loops, at_one_step=False)
    ports = [(state.input, state.output) for state in states]
    lifted = lift(model, ports, constants=_memories(model, states))
    return _Graphs(lifted.model, gemm_form(model), "", [*filter(None, [lifted.reason])])


def _lowered(
    model: ir.Model, loops: Mapping[int, Iteration], lengths: Collection[str], no_step: str
) -> _Graphs:
    """Return the graphs of a forward that takes whole sequences; its ports are named.

    Args:
        model: The graph as it was traced.
        loops: Its loops by the places of their calls.
        lengths: The names of its inputs that hold lengths.
        no_step: Why it has no step, where that is known.
    """
    every_step = model.clone()
    lower(model)
    fold_constants(model)
    scans = lower_loops(model, loops, at_one_step=False)
    sequence, step = scan_projection(model), None
    write_running(sequence)
    if not no_step:
        try:
            step = _at_one_step(every_step, loops, lengths)
        except UnsupportedModelError as error:
            no_step = str(error)
    return _Graphs(sequence, step, no_step, scans)


def _at_one_step(
    model: ir.Model, loops: Mapping[int, Iteration], lengths: Collection[str]
) -> ir.Model:
    """Return the step graph of a forward that takes whole sequences.

    Raises:
        UnsupportedModelError: It has none.
    """
    for one in loops.values():
        if one.loop.along != SEQUENCE:
            raise UnsupportedModelError(
                f"forward loops over `{one.loop.along}` besides the sequence, whole at every step."
            )
    lower(model, lengths=False)
    fold_constants(model)
    lower_loops(model, loops, at_one_step=True)
    step = at_one_step(_without_lengths(model, lengths))
    write_running(step)
    return gemm_form(step)


def _has_steps(source: ir.Value) -> bool:
    """Return whether an input has a dynamic axis besides the batch: it is data, not a state."""
    axes = [dim.value for dim in source.shape or () if isinstance(dim, ir.SymbolicDim)]
    return any(axis != BATCH for axis in axes)


def _unpaired(
    model: ir.Model, states: Sequence[StatePort], loops: Mapping[int, Iteration]
) -> Iterator[str]:
    """Tell which arguments start a layer, but have no next value in what forward returns."""
    inputs = {state.input for state in states}
    labels = {call: loop.labels for call, loop in loops.items()}
    layers: dict[ir.Value, str] = {}
    for slot in state_slots(model.graph, labels):
        layers |= {
            source: slot.layer for source in movement_sources(slot.before) if source not in layers
        }
    for source, layer in layers.items():
        if source.is_graph_input() and source.name not in inputs and not _has_steps(source):
            yield (
                f"`{source.name}` starts layer `{layer}` at every call: "
                "forward returns no next value of it that could be recognised. If it does, "
                f"name it with --state {source.name}=OUTPUT."
            )


def _memories(model: ir.Model, states: Sequence[StatePort]) -> list[str]:
    """Return the inputs of a step that are the same at all steps: those with an axis of their own.

    A decoder attends to such a memory, whose entries are no steps of its own.
    """
    inputs = {state.input for state in states}
    data = [port for port in model.graph.inputs if port.name not in inputs]
    found = [port.name or "" for port in data if _own_axes(port)]
    return found if len(found) < len(data) else []


def _own_axes(port: ir.Value) -> bool:
    return any(isinstance(dim, ir.SymbolicDim) and dim.value != BATCH for dim in port.shape or ())


def _is_recurrent(node: ir.Node) -> bool:
    """Return whether a call or a loop carries anything from step to step."""
    return node.attributes.get_int("states", 1) > 0


def _fixed_steps(run: ForwardRun) -> int:
    """Return the most steps that a layer runs in one call."""
    return max((call.sizes[0] for call in run.calls), default=1)


def _loops_from_own_state(run: ForwardRun, states: Sequence[StatePort]) -> bool:
    """Return whether forward calls a cell several times from a state that it makes itself.

    Then a call of forward is all steps of a sequence, not one of them.
    """
    layers = [call.layer for call in run.calls]
    own = (one.call for one in states if one.argument is None and one.call is not None)
    return any(sum(one is layers[call] for one in layers) > 1 for call in own)


def _without_lengths(model: ir.Model, lengths: Collection[str]) -> ir.Model:
    """Drop the inputs that hold lengths, where packing alone has read them; in place."""
    for value in [value for value in model.graph.inputs if value.name in lengths]:
        if value.uses():
            raise UnsupportedModelError(
                f"forward does more with `{value.name}` than to pack: a single step has no lengths."
            )
        model.graph.inputs.remove(value)
    return model


def _backward(model: ir.Model, loops: Mapping[int, Iteration]) -> str:
    """Say what runs from the last step of the sequence to the first; nothing where nothing does."""
    for node in recurrent_calls(model.graph):
        loop = loops.get(node.attributes["call"].as_int())
        if loop is not None and loop.loop.backward and loop.loop.along == SEQUENCE:
            return "forward loops from the last step of the sequence to the first."
        if (
            loop is None
            and node.attributes["bidirectional"].as_int()
            and _runs_along_sequence(node)
        ):
            layer = node.metadata_props["layer"]
            return (
                f"layer `{layer}` is bidirectional: its backward direction starts from the last "
                "step of the sequence."
            )
    return ""


def _runs_along_sequence(node: ir.Node) -> bool:
    """Return whether a layer's own steps are the sequence, or may be."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return True
    size = x.shape[1 if node.attributes["batch_first"].as_int() else 0]
    return isinstance(size, ir.SymbolicDim) and (size.value is None or SEQUENCE in size.value)


def _has(example: ExampleCall, symbol: str) -> bool:
    return any(symbol in shape for shape in example.shapes.values())
