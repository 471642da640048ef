"""From the trace of a forward to the sequence graph and the step graph.

A forward that takes whole sequences is lowered as it is, and its step graph is the same trace at
one time index, unless something in it takes more than the steps so far. A forward that is one step
is lowered to the step graph, and its sequence graph is that step lifted over time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ForwardRun
from edgernn.export.chunk_form.chunk_form import chunk_form
from edgernn.export.ir.call_nodes import call_nodes, runs_along_sequence
from edgernn.export.ir.fold_constants import fold_constants
from edgernn.export.ir.operator_kinds import EDGERNN
from edgernn.export.lift.lift_over_time import lift_over_time
from edgernn.export.lower.layers import lower
from edgernn.export.lower.loops import TracedLoop, lower_loops
from edgernn.export.lower.projection import scan_projection
from edgernn.export.lower.running_results import write_running
from edgernn.export.states.hop_and_delay import Streaming
from edgernn.export.states.state_port import StatePort
from edgernn.export.step.at_one_step import at_one_step, gemm_form, remove_lengths
from edgernn.export.step.unroll_layers import unroll_layers

__all__ = [
    "Graphs",
    "constant_steps",
    "graphs_of_sequence",
    "graphs_of_step",
    "has_own_axis",
    "looks_ahead",
    "loops_from_own_state",
]


@dataclass(frozen=True)
class Graphs:
    """What a trace becomes.

    Attributes:
        sequence: The sequence graph.
        step: The step graph, or None.
        no_step: Why there is no step graph; empty where there is one.
        scan_reasons: Why something in the sequence graph is a Scan, for each that is one.
        contexts: The states that were added to those of the model.
        streaming: The hop of the graphs and the delays of their outputs.
        no_chunks: Why the graphs were left as they are, where that may keep a state from being
            carried from chunk to chunk.
    """

    sequence: ir.Model
    step: ir.Model | None
    no_step: str
    scan_reasons: tuple[str, ...]
    contexts: tuple[StatePort, ...] = ()
    streaming: Streaming = field(default_factory=Streaming)
    no_chunks: str = ""


def graphs_of_step(
    model: ir.Model, states: Sequence[StatePort], loops: Mapping[int, TracedLoop]
) -> Graphs:
    """Return the graphs of a forward that is one step, from its trace, which is changed.

    Raises:
        UnsupportedModelError: It cannot be lifted over time.
    """
    lower(model)
    write_running(model)
    fold_constants(model)
    lower_loops(model, loops, at_one_step=False)
    unroll_layers(model)
    ports = [(state.input, state.output) for state in states]
    lifted = lift_over_time(model, ports, constants=_memories(model, states))
    reasons = (lifted.reason,) if lifted.reason else ()
    return Graphs(lifted.model, gemm_form(model), "", reasons)


def graphs_of_sequence(
    model: ir.Model,
    loops: Mapping[int, TracedLoop],
    lengths: Collection[str],
    no_step: str,
    multiple: int = 1,
) -> Graphs:
    """Return the graphs of a forward that takes whole sequences, from its trace, which is changed.

    Args:
        model: The trace, with its ports named.
        loops: Its loops by the places of their calls.
        lengths: The names of its inputs that hold lengths.
        no_step: Why it has no step, where that is known already.
        multiple: What numbers of steps it takes: multiples of it. 0 where each call starts anew,
            and no context is carried into it.
    """
    trace = model.clone()
    sequence, reasons = _lowered(model, loops)
    if no_step:
        return Graphs(sequence, None, no_step, reasons)
    no_chunks = ""
    if multiple and not lengths:
        try:
            lags = any(loop.time_loop.lag > 0 for loop in loops.values())
            plain = _lowered(trace.clone(), loops, False)[0] if lags else sequence
            form = chunk_form(plain, multiple)
            if form is not None:
                return Graphs(form.sequence, form.step, "", reasons, form.contexts, form.streaming)
        except UnsupportedModelError as error:
            no_chunks = str(error)
    try:
        step = _step_of_sequence(trace, loops, lengths)
        return Graphs(sequence, step, "", reasons, no_chunks=no_chunks)
    except UnsupportedModelError as error:
        return Graphs(sequence, None, no_chunks or str(error), reasons, no_chunks=no_chunks)


def _lowered(
    model: ir.Model, loops: Mapping[int, TracedLoop], may_be_empty: bool = True
) -> tuple[ir.Model, tuple[str, ...]]:
    """Return a trace in operators of ONNX, and why something in it is a Scan."""
    lower(model)
    fold_constants(model)
    reasons = tuple(lower_loops(model, loops, at_one_step=False, may_be_empty=may_be_empty))
    sequence = scan_projection(model)
    write_running(sequence)
    return sequence, reasons


def _step_of_sequence(
    model: ir.Model, loops: Mapping[int, TracedLoop], lengths: Collection[str]
) -> ir.Model:
    """Return the step graph of a forward that takes whole sequences.

    Raises:
        UnsupportedModelError: It has none.
    """
    for along in (loop.time_loop.along for loop in loops.values()):
        if along != SEQUENCE:
            raise UnsupportedModelError(
                f"forward loops over `{along}` besides the sequence, whole at every step."
            )
    lower(model, lengths=False)
    fold_constants(model)
    lower_loops(model, loops, at_one_step=True)
    remove_lengths(model, lengths, "forward", "pack")
    step = at_one_step(model)
    write_running(step)
    step = gemm_form(step)
    return scan_projection(step) if EDGERNN in step.opset_imports else step


def _memories(model: ir.Model, states: Sequence[StatePort]) -> list[str]:
    """Return the inputs of a step that are the same at all steps: those with an axis of their own.

    A decoder attends to such a memory, whose entries are no steps of its own.
    """
    inputs = {state.input for state in states}
    data = [port for port in model.graph.inputs if port.name not in inputs]
    memories = [port.name or "" for port in data if has_own_axis(port)]
    return memories if len(memories) < len(data) else []


def has_own_axis(port: ir.Value) -> bool:
    """Return whether an input has a dynamic axis besides the batch: it is data, not a state."""
    return any(isinstance(dim, ir.SymbolicDim) and dim.value != BATCH for dim in port.shape or ())


def loops_from_own_state(run: ForwardRun, states: Sequence[StatePort]) -> bool:
    """Return whether forward calls a cell several times from a state that it makes itself.

    Then a call of forward is all steps of a sequence, not one of them.
    """
    layers = [call.layer for call in run.calls]
    own = (one.call for one in states if one.argument is None and one.call is not None)
    return any(sum(one is layers[call] for one in layers) > 1 for call in own)


def constant_steps(run: ForwardRun, states: Sequence[StatePort]) -> str:
    """Say why a forward without an axis of steps, which runs several, has no step graph."""
    if loops_from_own_state(run, states):
        return (
            "forward loops over a constant number of steps, from a state of its own at every call."
        )
    return f"forward fixes its sequences to {run.most_steps} steps."


def looks_ahead(graph: ir.Graph, loops: Mapping[int, TracedLoop], example: ExampleCall) -> str:
    """Say why no state can be carried from chunk to chunk; nothing where one can.

    A call runs from the last step of the sequence to the first, or an input has several entries for
    every step.
    """
    for node in call_nodes(graph):
        loop = loops.get(node.attributes["call"].as_int())
        if loop is not None:
            if loop.time_loop.backward and loop.time_loop.along == SEQUENCE:
                return "forward loops from the last step of the sequence to the first."
        elif node.attributes["bidirectional"].as_int() and runs_along_sequence(node):
            return (
                f"layer `{node.metadata_props['layer']}` is bidirectional: its backward direction "
                "starts from the last step of the sequence."
            )
    for (path, _), size in example.derived_axes.items():
        if SEQUENCE in size:
            return (
                f"`{path}` has `{size}` entries where others have `{SEQUENCE}`: a step of it is "
                "not one entry."
            )
    return ""
