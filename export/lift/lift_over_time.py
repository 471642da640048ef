"""Lift a step graph over time: from one step to a sequence of any length.

    step graph                       x_t, h_in → LSTM → y_t, h_out
    sequence graph, `operator`       x, h_in   → LSTM over all steps → y, h_out
    sequence graph, `scan`           x, h_in   → Scan of the step → y, h_out

Where the recurrent nodes are layers, each of which starts a step with the state that it ended the
step before with, the ONNX operator runs over the whole sequence. Otherwise what passes from step to
step becomes the body of an ONNX Scan. Everything else runs on all steps at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.ir.recurrent_operators import (
    Input,
    direction_of,
    input_of,
    kind_of,
    recurrent_nodes,
)
from edgernn.export.ir.shapes import refine_shapes
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape
from edgernn.export.lift.scan_form import scan_form
from edgernn.export.lift.sequence_graph import SequenceGraphBuilder
from edgernn.export.lift.state_flow import ChangedStateError, check_feedback
from edgernn.export.lift.step_graph import StepGraph
from edgernn.export.lift.time_batching import BatchedValue, TimeBatcher
from edgernn.export.step.at_one_step import gemm_form
from edgernn.export.step.products import separate_products

__all__ = ["LiftedGraph", "lift_over_time", "scan_note"]


@dataclass(frozen=True)
class LiftedGraph:
    """A sequence graph made from a step graph, its form, and why it is not the operator form."""

    model: ir.Model
    form: Literal["operator", "scan"]
    reason: str = ""


def scan_note(reason: str) -> str:
    """Return a note that the sequence graph has a Scan, and why."""
    return (
        "The sequence graph repeats single steps in a Scan, which is slower than an operator for "
        f"all steps: {reason}."
    )


def lift_over_time(
    model: ir.Model,
    states: Sequence[tuple[str, str]],
    *,
    sequence_axes: Mapping[str, int] | None = None,
    constants: Collection[str] = (),
) -> LiftedGraph:
    """Return the sequence graph of a step graph.

    Every data input and every data output gets an axis named `sequence`. States keep their shapes.

    Args:
        model: A graph of opset 18 whose data ports have no sequence axis; it is not changed.
        states: Pairs of a state's input port and output port.
        sequence_axes: The place of the new axis in a port's new shape, by the port's name. By
            default it comes after the batch axis, or first where there is none.
        constants: Names of inputs that are the same at all steps; they keep their shapes.

    Raises:
        UnsupportedModelError: A port does not exist or has an unknown shape, or the graph holds
            something that has no one-step form.
    """
    step_graph = partial(
        StepGraph, states=states, sequence_axes=sequence_axes or {}, constants=constants
    )
    try:
        return LiftedGraph(_operator_form(step_graph(model)), "operator")
    except (MixedBatchError, ChangedStateError) as reason:
        model = model.clone()
        refine_shapes(model)
        separate_products(model.graph, {before for before, _ in states})
        return LiftedGraph(scan_form(step_graph(gemm_form(model))), "scan", str(reason))


def _operator_form(step: StepGraph) -> ir.Model:
    """Return the sequence graph of `step` whose recurrent nodes run over the whole sequence.

    Raises:
        MixedBatchError: Something around the recurrent nodes cannot run on all steps at once.
        ChangedStateError: A state is changed between two steps.
    """
    nodes = recurrent_nodes(step.graph)
    check_feedback(step.graph, step.states, [pair for node in nodes for pair in _states_of(node)])
    return _OperatorForm(step, nodes).model()


class _OperatorForm:
    def __init__(self, step: StepGraph, nodes: list[ir.Node]) -> None:
        self._step = step
        self._nodes = nodes
        self._sequence = SequenceGraphBuilder(step)
        self._batcher: TimeBatcher = self._sequence.batcher(self._output_of_layer)
        self._layers: dict[ir.Node, ir.Value] = {}
        self._finals: dict[ir.Value, ir.Value] = {}

    def model(self) -> ir.Model:
        step, batcher = self._step, self._batcher
        values: dict[ir.Value, ir.Value] = {}
        for port in step.results:
            axis = step.sequence_axis(port)
            if port in step.varying or port in step.constants:
                values[port] = batcher.with_sequence_axis(batcher(port), axis)
            else:
                values[port] = batcher.repeated_weight(port, axis)
        for node in self._nodes:
            self._layer(node)
        finals = {port: self._sequence.moved(port, self._finals) for port in step.states.values()}
        return self._sequence.finish(values | finals)

    def _output_of_layer(self, value: ir.Value) -> BatchedValue | None:
        """Return a final state of a recurrent node at all steps: h, which is its output Y."""
        node = value.producer()
        if node is None:
            raise MixedBatchError(f"state `{value.name}` is used outside of a recurrent node")
        if node not in self._nodes:
            return None
        if value.index() != 1:
            raise MixedBatchError(
                f"cell state `{value.name}` is used outside of its recurrent node"
            )
        shape = declared_shape(value)
        return BatchedValue(len(shape) - 2, shape, stacked=self._layer(node))

    def _layer(self, node: ir.Node) -> ir.Value:
        """Run a recurrent node over all steps; return its Y as (sequence, batch, hidden_size)."""
        if node in self._layers:
            return self._layers[node]
        _check_layer(node)
        x, *others = node.inputs
        if x not in self._step.varying:
            raise MixedBatchError(f"`{node.op_type}` `{node.name}` has a constant input")
        steps = self._batcher.stacked(self._batcher(x))
        states = {port: self._sequence.inputs[port] for port in self._step.states}
        inputs = [steps, *(other and self._sequence.moved(other, states) for other in others)]
        copier = self._sequence.copier
        y, *finals = copier.node(node, inputs, shaped=False)
        for old, new in zip(node.outputs[1:], finals, strict=True):
            new.shape = old.shape
            self._finals[old] = new
        squeezed = copier.tape.op("Squeeze", [y, copier.integers([1])])
        batch, size = declared_shape(node.outputs[0])[2:]
        y.shape = ir.Shape([SEQUENCE, 1, batch, size])
        squeezed.type, squeezed.shape = y.type, ir.Shape([SEQUENCE, batch, size])
        self._layers[node] = squeezed
        return squeezed


def _states_of(node: ir.Node) -> list[tuple[ir.Value, ir.Value]]:
    """Return the initial states of a recurrent node, each with the final one."""
    pairs: list[tuple[ir.Value, ir.Value]] = []
    for index, place in enumerate(kind_of(node).initial_states):
        start = input_of(node, place)
        if start is None:
            raise ChangedStateError(f"`{node.op_type}` `{node.name}` starts every step from zero")
        if 1 + index >= len(node.outputs):
            raise ChangedStateError(f"`{node.op_type}` `{node.name}` drops the state it leaves")
        pairs.append((start, node.outputs[1 + index]))
    return pairs


def _check_layer(node: ir.Node) -> None:
    """Refuse a recurrent node that does not run forward in time, or ends sequences early."""
    if (direction := direction_of(node)) != "forward":
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` is {direction}")
    if (layout := node.attributes.get_int("layout", 0)) != 0:
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` has layout {layout}")
    if node.domain == "" and input_of(node, Input.SEQUENCE_LENS) is not None:
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` has sequence lengths")
