"""Lift a one-step graph over time: from one step to a sequence of any length.

There are two forms. Where the recurrent nodes are plain layers, each starting a step with the state
that it ended the last one with, the ONNX operator runs over the whole sequence and everything
around it runs on all steps at once (`operator`). Otherwise what passes from step to step becomes
the body of an ONNX Scan and the rest runs on all steps at once (`scan`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.ir.shapes import refine_shapes
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape
from edgernn.export.lift.scan_form import scan_form
from edgernn.export.lift.separate_products import separate_products
from edgernn.export.lift.state_flow import ChangedStateError, check_feedback
from edgernn.export.lift.step_graph import INITIAL_STATES, SequenceGraphBuilder, StepGraph
from edgernn.export.lift.time_batching import BatchedValue, TimeBatcher
from edgernn.export.step.at_one_step import gemm_form

__all__ = ["LiftedGraph", "lift_over_time"]


@dataclass(frozen=True)
class LiftedGraph:
    """A sequence graph made from a one-step graph.

    Attributes:
        model: The sequence graph.
        form: `operator` where every recurrent node runs over the whole sequence, or `scan`.
        reason: Why it is not the operator form; empty where it is.
    """

    model: ir.Model
    form: Literal["operator", "scan"]
    reason: str = ""


def lift_over_time(
    model: ir.Model,
    states: Sequence[tuple[str, str]],
    *,
    sequence_axes: Mapping[str, int] | None = None,
    constants: Collection[str] = (),
) -> LiftedGraph:
    """Return the sequence graph of a one-step graph.

    Every data input gets an axis named `sequence`, and so does every data output. States keep
    their shapes.

    Args:
        model: A graph of opset 18 whose data ports have no sequence axis. Left as it is.
        states: Pairs of a state's input port and output port.
        sequence_axes: The place of the new axis in a port's new shape, by the port's name. By
            default it comes after the batch axis, or first where there is none.
        constants: Names of inputs that are the same at all steps; they keep their shapes.

    Raises:
        UnsupportedModelError: A port does not exist or has an unknown shape, or the graph holds
            something that has no one-step form.
    """
    prepare = partial(
        StepGraph,
        states=states,
        sequence_axes=sequence_axes or {},
        constants=constants,
    )
    try:
        return LiftedGraph(_OperatorForm(prepare(model)).model(), "operator")
    except (MixedBatchError, ChangedStateError) as reason:
        model = model.clone()
        refine_shapes(model)
        separate_products(model.graph, {before for before, _ in states})
        return LiftedGraph(scan_form(prepare(gemm_form(model))), "scan", str(reason))


class _OperatorForm:
    """The sequence graph whose recurrent nodes run over all steps."""

    def __init__(self, one: StepGraph) -> None:
        layers = [node for node in one.graph if (node.domain, node.op_type) in INITIAL_STATES]
        check_feedback(one.graph, one.states, [pair for node in layers for pair in _pairs(node)])
        self._one = one
        self._new = SequenceGraphBuilder(one)
        self._fold: TimeBatcher = self._new.fold(self._ready)
        self._layers: dict[ir.Node, ir.Value] = {}
        self._finals: dict[ir.Value, ir.Value] = {}

    def model(self) -> ir.Model:
        """Return the graph.

        Raises:
            MixedBatchError: Something around the recurrent nodes cannot run on all steps at once.
            ChangedStateError: A state is more than moved.
        """
        one = self._one
        values = {port: self._result(port) for port in one.results}
        for node in one.graph:
            if (node.domain, node.op_type) in INITIAL_STATES:
                self._layer(node)
        values |= {port: self._new.moved(port, self._finals) for port in one.states.values()}
        return self._new.finish(values)

    def _result(self, port: ir.Value) -> ir.Value:
        return self._new.result(port, self._fold, self._fold(port))

    def _ready(self, value: ir.Value) -> BatchedValue | None:
        """Return an output of a recurrent node for all steps; h as a feature is its output Y."""
        node = value.producer()
        if node is None:
            raise MixedBatchError(f"state `{value.name}` is used outside of a recurrent node")
        if (node.domain, node.op_type) not in INITIAL_STATES:
            return None
        if value.index() != 1:
            raise MixedBatchError(
                f"cell state `{value.name}` is used outside of its recurrent node"
            )
        shape = declared_shape(value)
        return BatchedValue(len(shape) - 2, shape, steps=self._layer(node))

    def _layer(self, node: ir.Node) -> ir.Value:
        """Run a recurrent node over all steps; return its Y as (sequence, batch, hidden_size)."""
        if node not in self._layers:
            _check_layer(node)
            x, *others = node.inputs
            steps = self._fold.steps(self._fold(x)) if x in self._one.varying else None
            if steps is None:
                raise MixedBatchError(f"`{node.op_type}` `{node.name}` has a constant input")
            states = {port: self._new.inputs[port] for port in self._one.states}
            inputs = [steps, *(other and self._new.moved(other, states) for other in others)]
            outputs = self._new.graft.node(node, inputs, shaped=False)
            for old, new in zip(node.outputs, outputs, strict=True):
                new.shape = old.shape if old is not node.outputs[0] else None
            self._finals.update(zip(node.outputs[1:], outputs[1:], strict=True))
            squeezed = self._new.tape.op("Squeeze", [outputs[0], self._new.graft.integers([1])])
            batch, size = declared_shape(node.outputs[0])[2:]
            outputs[0].shape = ir.Shape([SEQUENCE, 1, batch, size])
            squeezed.type, squeezed.shape = outputs[0].type, ir.Shape([SEQUENCE, batch, size])
            self._layers[node] = squeezed
        return self._layers[node]


def _pairs(node: ir.Node) -> list[tuple[ir.Value, ir.Value]]:
    """Return the states of a recurrent node: its initial ones, each with the final one."""
    pairs: list[tuple[ir.Value, ir.Value]] = []
    for place, index in enumerate(INITIAL_STATES[node.domain, node.op_type]):
        start = node.inputs[index] if index < len(node.inputs) else None
        if start is None:
            raise ChangedStateError(f"`{node.op_type}` `{node.name}` starts every step from zero")
        if 1 + place >= len(node.outputs):
            raise ChangedStateError(f"`{node.op_type}` `{node.name}` drops the state it leaves")
        pairs.append((start, node.outputs[1 + place]))
    return pairs


def _check_layer(node: ir.Node) -> None:
    """Refuse a recurrent node that does not run forward in time, or not on all of its rows."""
    direction, layout = node.attributes.get("direction"), node.attributes.get("layout")
    if direction is not None and direction.as_string() != "forward":
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` is {direction.as_string()}")
    if layout is not None and layout.as_int() != 0:
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` has layout {layout.as_int()}")
    if node.domain == "" and len(node.inputs) > 4 and node.inputs[4] is not None:
        raise MixedBatchError(f"`{node.op_type}` `{node.name}` has sequence lengths")
