"""Loops over time in a graph: a node each, `torch::loop`, and one iteration of it as a graph."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from torch import nn

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.example.call import Example, observe
from edgernn.export.lift.lift import Lift, lift
from edgernn.export.step.running import write_running
from edgernn.export.trace.capture import Call
from edgernn.export.trace.dataflow import moved_from
from edgernn.export.trace.dims import rename_axes
from edgernn.export.trace.layers import lower
from edgernn.export.trace.loop import LOOP, Loop
from edgernn.export.trace.packed import DOMAIN
from edgernn.export.trace.slots import Slot, layer_names, state_slots
from edgernn.export.trace.trace import fold, trace

__all__ = ["Iteration", "iterations", "lower_loops"]


_OTHERS = "sequence_outside"
"""What the sequence is called within a loop, whose own steps are the sequence to `lift`."""


@dataclass(frozen=True)
class Iteration:
    """One iteration of a loop.

    Attributes:
        loop: The loop.
        model: Its body: takes a step of each sequence, the states and the constants, returns the
            next states and what is collected.
        labels: For each state its `Slot.label`.
    """

    loop: Loop
    model: ir.Model
    labels: tuple[tuple[str, str], ...]


def iterations(
    module: nn.Module, example: Example, calls: Sequence[Call], taken: dict[str, int]
) -> dict[int, Iteration]:
    """Return the loops of a model by the places of their calls.

    Args:
        module: The model, its loops `Loop`.
        example: The call of it that is traced.
        calls: What it calls then.
        taken: See `layer_names`.
    """
    return {
        place: _iteration(call.loop, _body_example(module, example, place), taken)
        for place, call in enumerate(calls)
        if call.loop is not None
    }


def _iteration(loop: Loop, example: Example, taken: dict[str, int]) -> Iteration:
    model = trace(loop.body, example)
    layer_names(model, taken)
    inputs = {port.name: port for port in model.graph.inputs}
    slots = state_slots(model.graph)
    states = [inputs.get(f"h{index}") for index in range(loop.states)]
    labels = _labels([_fed(state, slots) for state in states])
    _name_ports(model.graph, labels)
    lower(model)
    write_running(model)
    fold(model)
    return Iteration(loop, model, labels)


def _name_ports(graph: ir.Graph, labels: Sequence[tuple[str, str]]) -> None:
    """Name the states after their layers; what is collected is `y0`, `y1`, …."""
    inputs = {port.name: port for port in graph.inputs}
    outputs = list(graph.outputs)
    for index, ((layer, name), after) in enumerate(zip(labels, outputs, strict=False)):
        port = inputs[f"h{index}"]
        port.name, after.name = f"{layer or LOOP}_{name}", f"{layer or LOOP}_{name}_next"
    for index, value in enumerate(outputs[len(labels) :]):
        value.name = f"y{index}"


def _fed(state: ir.Value | None, slots: Sequence[Slot]) -> Slot | None:
    """Return the state of a layer that starts from a state of the loop, if one does."""
    fed = [slot for slot in slots if state is not None and state in moved_from(slot.before)]
    return fed[0] if len(fed) == 1 else None


def _labels(fed: Sequence[Slot | None]) -> tuple[tuple[str, str], ...]:
    """Name the states of a loop: those of layers after these, the others in their order."""
    others = itertools.count() if fed.count(None) > 1 else itertools.repeat("")
    return tuple(
        (slot.layer, slot.name) if slot is not None else ("", f"h{next(others)}") for slot in fed
    )


def _body_example(module: nn.Module, example: Example, place: int) -> Example:
    """Return an example of an iteration: which of its axes are dynamic is seen at other sizes."""
    tensors = _step_of(observe(module, example).calls[place])
    shapes: dict[str, list[int | str]] = {name: [*t.shape] for name, t in tensors.items()}
    for symbol, size in example.sizes.items():
        longer = _step_of(observe(module, example.resized({symbol: size + 1})).calls[place])
        for name, tensor in longer.items():
            for axis, (old, new) in enumerate(zip(tensors[name].shape, tensor.shape, strict=True)):
                if old != new:
                    same = (old, new) == (size, size + 1)
                    shapes[name][axis] = symbol if same else f"{symbol}_{old}"
    return Example(tensors, {name: tuple(shape) for name, shape in shapes.items()})


def _step_of(call: Call) -> dict[str, torch.Tensor]:
    """Return what the first iteration takes, by the names of the body's arguments."""
    loop, operands = call.loop, call.operands
    assert loop is not None
    assert operands is not None
    steps = [x.select(axis, 0) for x, axis in zip(operands.sequences, loop.axes, strict=True)]
    return {
        f"{letter}{index}": tensor.contiguous()
        for letter, tensors in (
            ("x", steps),
            ("h", operands.states),
            ("k", operands.constants),
        )
        for index, tensor in enumerate(tensors)
    }


def lower_loops(model: ir.Model, bodies: Mapping[int, Iteration], at_one_step: bool) -> list[str]:
    """Write every loop as operators or as a Scan; in place.

    Args:
        model: A graph whose other calls are lowered.
        bodies: The loops by the places of their calls.
        at_one_step: Whether a loop along the sequence is one iteration.

    Returns:
        Why loops are a Scan, for each that is one.

    Raises:
        UnsupportedModelError: A loop has no step.
    """
    reasons: list[str] = []
    for node in [node for node in model.graph if _is_loop(node)]:
        body = bodies[node.attributes["call"].as_int()]
        if at_one_step and body.loop.along == SEQUENCE:
            _inline(model.graph, node, _once(body))
        else:
            lifted = _lifted(body) if body.loop.lag <= 0 else _with_one_more(body)
            if lifted.form == "scan":
                reasons.append(lifted.reason)
            _inline(model.graph, node, lifted.model)
    model.opset_imports.pop(DOMAIN, None)
    passes.NameFixPass()(model)
    return reasons


def _is_loop(node: ir.Node) -> bool:
    return node.domain == DOMAIN and node.op_type == LOOP


def _lifted(body: Iteration) -> Lift:
    loop, model = body.loop, body.model.clone()
    inputs = [port.name or "" for port in model.graph.inputs]
    outputs = [port.name or "" for port in model.graph.outputs]
    first, last = len(loop.axes), len(loop.axes) + loop.states
    axes = dict(zip(inputs, loop.axes, strict=False)) | dict.fromkeys(outputs[loop.states :], 0)
    rename_axes(model, {SEQUENCE: _OTHERS})
    lifted = lift(
        model,
        list(zip(inputs[first:last], outputs, strict=False)),
        sequence_axes=axes,
        constants=inputs[last:],
    )
    along = f"{loop.along}_steps" if loop.lag else loop.along
    rename_axes(lifted.model, {SEQUENCE: along, _OTHERS: SEQUENCE})
    return lifted


def _with_one_more(body: Iteration) -> Lift:
    """Lift a loop that may have no step: it runs one more, whose results are dropped.

    ONNX Runtime fails on a Scan of no steps, and ends the process at a recurrent operator of none.
    """
    count, model = body.loop.states, body.model.clone()
    tape = ir.tape.Tape(model.graph)
    for place, state in enumerate(list(model.graph.outputs)[:count]):
        copy = tape.op("Identity", [state])
        copy.name, copy.type, copy.shape = f"s{place}", state.type, state.shape
        model.graph.outputs.append(copy)
    lifted = _lifted(replace(body, model=model))
    graph = lifted.model.graph
    steps = _pad(graph, body.loop.axes)
    tape = ir.tape.Tape(graph)
    zero = tape.initializer(ir.tensor([0], ir.DataType.INT64, name="first_step"))
    results = list(graph.outputs)
    every_state = results[len(results) - count :]
    for place, value in enumerate(results[: len(results) - count]):
        if place < count:
            start = graph.inputs[len(body.loop.axes) + place]
            starts = tape.op("Unsqueeze", [start, zero])
            states = tape.op("Concat", [starts, every_state[place]], {"axis": 0})
            last = tape.op("Gather", [states, steps], {"axis": 0})
            results[place] = tape.op("Squeeze", [last, zero])
        else:
            results[place] = tape.op("Slice", [value, zero, steps, zero])
        results[place].type = value.type
    graph.outputs[:] = results[: len(results) - count]
    passes.TopologicalSortPass()(lifted.model)
    return lifted


def _pad(graph: ir.Graph, axes: Sequence[int]) -> ir.Value:
    """Give the sequences, the first inputs, one step more; return how many they had."""
    tape = ir.tape.Tape(graph)
    steps: ir.Value | None = None
    for place, axis in enumerate(axes):
        port = graph.inputs[place]
        assert port.shape is not None
        pads = [0] * (2 * len(port.shape))
        pads[len(port.shape) + axis] = 1
        amount = tape.initializer(ir.tensor(pads, ir.DataType.INT64, name=f"x{place}_pads"))
        whole = ir.Value(name=port.name, type=port.type)
        padded = tape.op("Pad", [whole, amount])
        padded.type, padded.shape = port.type, port.shape
        ir.convenience.replace_all_uses_with(port, padded, replace_graph_outputs=True)
        graph.inputs[place] = whole
        steps = steps or tape.op("Shape", [whole], {"start": axis, "end": axis + 1})
    assert steps is not None
    return steps


def _once(body: Iteration) -> ir.Model:
    """Return the graph of a loop of one step."""
    loop = body.loop
    if loop.lag:
        raise UnsupportedModelError(
            "forward's loop over time does not run once for each step: at "
            f"one step it runs {max(1 - loop.lag, 0)} times."
        )
    model = body.model.clone()
    graph = model.graph
    tape = ir.tape.Tape(graph)
    for place, axis in enumerate(loop.axes):
        port = graph.inputs[place]
        axes = tape.initializer(ir.tensor([axis], ir.DataType.INT64, name=f"x{place}_axis"))
        whole = ir.Value(name=f"{port.name}_steps", type=port.type)
        graph.inputs[place] = whole
        step = tape.op("Squeeze", [whole, axes])
        step.type, step.shape = port.type, port.shape
        ir.convenience.replace_all_uses_with(port, step, replace_graph_outputs=True)
    for place in range(loop.states, len(graph.outputs)):
        axes = tape.initializer(ir.tensor([0], ir.DataType.INT64, name=f"y{place}_axis"))
        graph.outputs[place] = tape.op("Unsqueeze", [graph.outputs[place], axes])
    passes.TopologicalSortPass()(model)
    return model


def _inline(graph: ir.Graph, node: ir.Node, model: ir.Model) -> None:
    """Put the nodes of `model` in the place of `node`; their ports correspond in order."""
    part = model.graph
    for port, value in zip(list(part.inputs), node.inputs, strict=True):
        assert value is not None
        ir.convenience.replace_all_uses_with(port, value, replace_graph_outputs=True)
    outputs = list(part.outputs)
    nodes = list(part)
    part.inputs.clear()
    part.outputs.clear()
    part.remove(nodes)
    for name, initializer in list(part.initializers.items()):
        del part.initializers[name]
        while initializer.name in graph.initializers:
            initializer.name = f"{initializer.name}_"
        graph.register_initializer(initializer)
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, outputs, strict=True):
        if old.is_graph_output():
            if new.is_graph_output() or new.producer() not in nodes:
                copy = ir.node("Identity", [new])
                graph.insert_before(node, copy)
                new = copy.outputs[0]
            new.name, old.name = old.name, None
        new.shape, new.type = new.shape or old.shape, new.type or old.type
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
