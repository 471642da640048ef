"""The loops over time of a model: one iteration of each as a graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import onnx_ir as ir
import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.capture.recurrent_calls import RecurrentCall
from edgernn.export.ir.call_nodes import StateLabel
from edgernn.export.ir.dataflow import movement_sources
from edgernn.export.ir.fold_constants import fold_constants
from edgernn.export.ir.operator_kinds import LOOP
from edgernn.export.lower.layers import lower
from edgernn.export.lower.loops import TracedLoop
from edgernn.export.lower.running_results import write_running
from edgernn.export.states.node_states import NodeState, call_states
from edgernn.export.trace.trace import trace

__all__ = ["lower_loop_body", "trace_loop_bodies"]


def trace_loop_bodies(
    module: nn.Module, example: ExampleCall, calls: Sequence[RecurrentCall]
) -> dict[int, ir.Model]:
    """Return one iteration of each loop of a model, by the index of the loop among its calls."""
    return {
        index: trace(call.loop.body, _body_example(module, example, index))
        for index, call in enumerate(calls)
        if call.loop is not None
    }


def lower_loop_body(call: RecurrentCall, model: ir.Model) -> TracedLoop:
    """Return an iteration in ONNX operators, its states named after its layers.

    `model` is the iteration as it was traced, its layers named; it is changed in place.
    """
    loop = call.loop
    assert loop is not None
    inputs = {port.name: port for port in model.graph.inputs}
    states = call_states(model.graph)
    ports = [inputs.get(f"h{index}") for index in range(loop.states)]
    labels = _state_labels([_layer_state(port, states) for port in ports])
    outputs = list(model.graph.outputs)
    for index, ((layer, name), after) in enumerate(zip(labels, outputs, strict=False)):
        port = inputs[f"h{index}"]
        port.name, after.name = f"{layer or LOOP}_{name}", f"{layer or LOOP}_{name}_next"
    for index, collected in enumerate(outputs[len(labels) :]):
        collected.name = f"y{index}"
    lower(model)
    write_running(model)
    fold_constants(model)
    return TracedLoop(loop, model, labels)


def _layer_state(port: ir.Value | None, states: Sequence[NodeState]) -> NodeState | None:
    """Return the state of a layer that starts from a state of the loop, if exactly one does."""
    started = [state for state in states if port in movement_sources(state.initial)]
    return started[0] if port is not None and len(started) == 1 else None


def _state_labels(states: Sequence[NodeState | None]) -> tuple[StateLabel, ...]:
    """Return a loop's names of states: a layer's after that, the others by their order."""
    others = itertools.count() if states.count(None) > 1 else itertools.repeat("")
    return tuple(
        StateLabel("", f"h{next(others)}") if state is None else StateLabel(state.layer, state.name)
        for state in states
    )


def _body_example(module: nn.Module, example: ExampleCall, index: int) -> ExampleCall:
    """Return an example of an iteration, its dynamic axes found by runs at other sizes."""
    tensors = _step_of(run_forward(module, example).calls[index])
    shapes: dict[str, list[int | str]] = {name: [*t.shape] for name, t in tensors.items()}
    for symbol, size in example.sizes.items():
        longer = _step_of(run_forward(module, example.resized({symbol: size + 1})).calls[index])
        for name, tensor in longer.items():
            for axis, (old, new) in enumerate(zip(tensors[name].shape, tensor.shape, strict=True)):
                if old != new:
                    same = (old, new) == (size, size + 1)
                    shapes[name][axis] = symbol if same else f"{symbol}_{old}"
    return ExampleCall(tensors, {name: tuple(shape) for name, shape in shapes.items()})


def _step_of(call: RecurrentCall) -> dict[str, torch.Tensor]:
    """Return what the first iteration takes, by the names of the body's arguments."""
    loop, operands = call.loop, call.operands
    assert loop is not None
    assert operands is not None
    steps = [x.select(axis, 0) for x, axis in zip(operands.sequences, loop.axes, strict=True)]
    return {
        f"{letter}{index}": tensor.contiguous()
        for letter, tensors in (("x", steps), ("h", operands.states), ("k", operands.constants))
        for index, tensor in enumerate(tensors)
    }
