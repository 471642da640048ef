"""Loops over time in a graph, `torch::loop`, as operators, as a Scan, or as one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir
from onnx_ir.passes import common as passes

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.capture.loop_call import TimeLoop
from edgernn.export.ir.call_nodes import StateLabel
from edgernn.export.ir.node_builder import splice
from edgernn.export.ir.operator_kinds import LOOP, TORCH
from edgernn.export.ir.symbolic_dims import rename_axes
from edgernn.export.lift.lift_over_time import LiftedGraph, lift_over_time

__all__ = ["TracedLoop", "lower_loops"]


_OUTER_SEQUENCE = "sequence_outside"
"""The name of the model's sequence axis in the body of a loop, whose own steps are `sequence`."""


@dataclass(frozen=True)
class TracedLoop:
    """A loop over time, and the graph of one of its iterations.

    Attributes:
        time_loop: The loop as forward calls it.
        body: One iteration. It takes one step of each sequence, the states and the constants, and
            returns the next states and the outputs of the step.
        labels: What each of its states is.
    """

    time_loop: TimeLoop
    body: ir.Model
    labels: tuple[StateLabel, ...]


def lower_loops(
    model: ir.Model,
    traced: Mapping[int, TracedLoop],
    at_one_step: bool,
    may_be_empty: bool = True,
) -> list[str]:
    """Replace every loop by operators or by a Scan, in a graph whose other calls are lowered.

    Args:
        model: The graph; it is changed.
        traced: Its loops by the places of their calls.
        at_one_step: Whether a loop along the sequence is one iteration.
        may_be_empty: Whether a loop may run no iteration, as one over fewer steps than the
            sequence has.

    Returns:
        The reason for each loop that is a Scan.

    Raises:
        UnsupportedModelError: A loop cannot be written at one step.
    """
    reasons: list[str] = []
    loops = [node for node in model.graph if (node.domain, node.op_type) == (TORCH, LOOP)]
    for node in loops:
        loop = traced[node.attributes["call"].as_int()]
        if at_one_step and loop.time_loop.along == SEQUENCE:
            _replace_by(model.graph, node, _single_iteration(loop))
            continue
        extra = may_be_empty and loop.time_loop.lag > 0
        lifted = _lift_with_extra_step(loop) if extra else _lift(loop)
        reasons += [lifted.reason] if lifted.form == "scan" else []
        _replace_by(model.graph, node, lifted.model)
    model.opset_imports.pop(TORCH, None)
    passes.NameFixPass()(model)
    return reasons


def _lift(traced: TracedLoop) -> LiftedGraph:
    loop, model = traced.time_loop, traced.body.clone()
    inputs = [port.name or "" for port in model.graph.inputs]
    outputs = [port.name or "" for port in model.graph.outputs]
    first, last = len(loop.axes), len(loop.axes) + loop.states
    axes = dict(zip(inputs, loop.axes, strict=False)) | dict.fromkeys(outputs[loop.states :], 0)
    rename_axes(model, {SEQUENCE: _OUTER_SEQUENCE})
    lifted = lift_over_time(
        model,
        list(zip(inputs[first:last], outputs, strict=False)),
        sequence_axes=axes,
        constants=inputs[last:],
    )
    along = f"{loop.along}_steps" if loop.lag else loop.along
    rename_axes(lifted.model, {SEQUENCE: along, _OUTER_SEQUENCE: SEQUENCE})
    return lifted


def _lift_with_extra_step(loop: TracedLoop) -> LiftedGraph:
    """Lift a loop that may run no iteration: it runs one more, whose results are dropped.

    ONNX Runtime fails on a Scan without steps, and crashes at a recurrent operator without any.
    """
    count, model = loop.time_loop.states, loop.body.clone()
    tape = ir.tape.Tape(model.graph)
    for place, state in enumerate(list(model.graph.outputs)[:count]):
        copy = tape.op("Identity", [state])
        copy.name, copy.type, copy.shape = f"s{place}", state.type, state.shape
        model.graph.outputs.append(copy)
    lifted = _lift(replace(loop, body=model))
    graph = lifted.model.graph
    steps = _pad_by_one_step(graph, loop.time_loop.axes)
    tape = ir.tape.Tape(graph)
    zero = tape.initializer(ir.tensor([0], ir.DataType.INT64, name="first_step"))
    results = list(graph.outputs)
    every_state = results[len(results) - count :]
    for place, value in enumerate(results[: len(results) - count]):
        if place < count:
            starts = tape.op("Unsqueeze", [graph.inputs[len(loop.time_loop.axes) + place], zero])
            states = tape.op("Concat", [starts, every_state[place]], {"axis": 0})
            last = tape.op("Gather", [states, steps], {"axis": 0})
            results[place] = tape.op("Squeeze", [last, zero])
        else:
            results[place] = tape.op("Slice", [value, zero, steps, zero])
        results[place].type = value.type
    graph.outputs[:] = results[: len(results) - count]
    passes.TopologicalSortPass()(lifted.model)
    return lifted


def _pad_by_one_step(graph: ir.Graph, axes: Sequence[int]) -> ir.Value:
    """Pad the sequences, which are the first inputs, by a step; return how many steps they had."""
    tape = ir.tape.Tape(graph)
    steps: ir.Value | None = None
    for place, axis in enumerate(axes):
        port = graph.inputs[place]
        assert port.shape is not None
        pads = [0] * (2 * len(port.shape))
        pads[len(port.shape) + axis] = 1
        amount = tape.initializer(ir.tensor(pads, ir.DataType.INT64, name=f"x{place}_pads"))
        whole = ir.Value(name=port.name, type=port.type)
        _change_input(graph, place, whole, tape.op("Pad", [whole, amount]))
        steps = steps or tape.op("Shape", [whole], {"start": axis, "end": axis + 1})
    assert steps is not None
    return steps


def _change_input(graph: ir.Graph, place: int, new: ir.Value, value: ir.Value) -> None:
    """Make `new` an input of a graph, and `value` the one that there was."""
    port = graph.inputs[place]
    value.type, value.shape = port.type, port.shape
    ir.convenience.replace_all_uses_with(port, value, replace_graph_outputs=True)
    graph.inputs[place] = new


def _single_iteration(traced: TracedLoop) -> ir.Model:
    """Return the graph of a loop that runs one iteration."""
    loop = traced.time_loop
    if loop.lag:
        raise UnsupportedModelError(
            "forward's loop over time does not run once for each step: at "
            f"one step it runs {max(1 - loop.lag, 0)} times."
        )
    model = traced.body.clone()
    graph = model.graph
    tape = ir.tape.Tape(graph)
    for place, axis in enumerate(loop.axes):
        port = graph.inputs[place]
        axes = tape.initializer(ir.tensor([axis], ir.DataType.INT64, name=f"x{place}_axis"))
        whole = ir.Value(name=f"{port.name}_steps", type=port.type)
        _change_input(graph, place, whole, tape.op("Squeeze", [whole, axes]))
    for place in range(loop.states, len(graph.outputs)):
        axes = tape.initializer(ir.tensor([0], ir.DataType.INT64, name=f"y{place}_axis"))
        graph.outputs[place] = tape.op("Unsqueeze", [graph.outputs[place], axes])
    passes.TopologicalSortPass()(model)
    return model


def _replace_by(graph: ir.Graph, node: ir.Node, model: ir.Model) -> None:
    """Replace `node` by the nodes of `model`, whose ports correspond to its own in order."""
    part = list(model.graph)
    inputs = [value for value in node.inputs if value is not None]
    outputs = splice(graph, node, model.graph, inputs)
    for old, new in zip(node.outputs, outputs, strict=True):
        if old.is_graph_output():
            if new.is_graph_output() or new.producer() not in part:
                copy = ir.node("Identity", [new])
                graph.insert_before(node, copy)
                new = copy.outputs[0]
            new.name, old.name = old.name, None
        new.shape, new.type = new.shape or old.shape, new.type or old.type
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
