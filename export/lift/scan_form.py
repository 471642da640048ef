"""The sequence graph of a step graph as an ONNX Scan.

    step graph          h_out = tanh(W·x + U·h_in),   y = V·h_out
    sequence graph      p = W·x                       at all steps at once, before the Scan
                        h_out = tanh(p_t + U·h)       in the body of the Scan
                        y = V·h                       at all steps at once, after the Scan

The body has only what passes from step to step. What comes before it and after it runs on all steps
at once, as entries of one batch, wherever it keeps the entries of a batch apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import onnx_ir as ir
from onnx_ir.tape import Tape

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.dataflow import ancestors
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape
from edgernn.export.lift.sequence_graph import SequenceGraphBuilder
from edgernn.export.lift.state_flow import carried_pairs
from edgernn.export.lift.step_graph import NodeCopier, StepGraph
from edgernn.export.lift.time_batching import BatchedValue, TimeBatcher

__all__ = ["scan_form"]


def scan_form(step: StepGraph, backward: bool = False) -> ir.Model:
    """Return the sequence graph of `step`, in primitive operators, with a Scan.

    Where `backward`, the Scan runs from the last step to the first.
    """
    pairs = carried_pairs(step.graph, step.states)
    recurrent = {
        value
        for _, after in pairs
        for value in ancestors(after)
        if value is after or value in step.stateful
    }
    in_body: list[ir.Value] = []
    while True:
        form = _ScanForm(step, pairs, recurrent, in_body)
        mixed = form.add_results()
        if mixed is None:
            return form.model(backward)
        in_body.append(mixed)


class _ScanForm:
    """The sequence graph, under construction.

    Args:
        step: The step graph.
        pairs: What passes from step to step: a value that starts a step, and its next value.
        recurrent: The values that pass from step to step, and what they are computed from.
        in_body: Results that the body computes because they cannot run on all steps at once.
    """

    def __init__(
        self,
        step: StepGraph,
        pairs: Sequence[tuple[ir.Value, ir.Value]],
        recurrent: set[ir.Value],
        in_body: Sequence[ir.Value],
    ) -> None:
        self._step = step
        self._pairs = pairs
        self._recurrent = recurrent
        self._in_body = in_body
        self._sequence = SequenceGraphBuilder(step)
        self._body = Tape()
        self._body_copier = NodeCopier(self._body)
        self._states = {before: _like(before) for before, _ in pairs}
        self._copies: dict[ir.Value, ir.Value] = dict(self._states)
        self._scan_inputs: dict[ir.Value, ir.Value] = {}
        self._scan_outputs: dict[ir.Value, ir.Value] = {}
        self._results: dict[ir.Value, ir.Value] = {}
        self._batcher: TimeBatcher | None = None
        with suppress(MixedBatchError):  # where no data input has a batch axis
            self._batcher = self._sequence.batcher(self._output_of_body)

    def add_results(self) -> ir.Value | None:
        """Compute the results; return the first that the body must compute, or None."""
        for port in self._step.results:
            if port in self._in_body:
                self._results[port] = self._result_of_body(port)
                continue
            try:
                self._results[port] = self._at_all_steps(port, self._step.sequence_axis(port))
            except MixedBatchError:
                return port
        return None

    def _at_all_steps(self, value: ir.Value, axis: int) -> ir.Value:
        """Compute `value` outside of the body, with the steps at `axis`."""
        if self._batcher is None:
            raise MixedBatchError("no data input has a batch axis")
        return self._batcher.with_sequence_axis(self._batcher(value), axis)

    def model(self, backward: bool) -> ir.Model:
        """Return the graph, once all results are there."""
        step, sequence = self._step, self._sequence
        if not self._scan_inputs:
            self._add_scan_input(step.data[0])  # a Scan has as many steps as its inputs
        after = [next_ for _, next_ in self._pairs]
        outputs = self._body_outputs([*after, *self._scan_outputs])
        body = ir.Graph(
            [*self._states.values(), *self._scan_inputs],
            outputs,
            nodes=self._body.nodes,
            initializers=self._body.initializers,
            opset_imports=step.graph.opset_imports,
            name="step",
        )
        finals = [_like(value) for value in after]
        self._add_scan(body, finals, backward)
        known = dict(zip(after, finals, strict=True))
        states = {port: sequence.moved(port, known) for port in step.states.values()}
        model = sequence.finish(states | self._results)
        # ONNX Runtime asks for other names in the body than around it.
        for value in (*body.inputs, *(output for node in body for output in node.outputs)):
            value.name = f"step_{value.name}"
        return model

    def _add_scan(self, body: ir.Graph, finals: Sequence[ir.Value], backward: bool) -> None:
        """Add the Scan to the sequence graph; `finals` are the states after the last step."""
        sequence = self._sequence
        states = {port: sequence.inputs[port] for port in self._step.states}
        count = len(self._scan_inputs)
        attributes: dict[str, Any] = {"body": body, "num_scan_inputs": count}
        if backward:
            attributes["scan_input_directions"] = [1] * count
            attributes["scan_output_directions"] = [1] * len(self._scan_outputs)
        inputs = [sequence.moved(value, states) for value in self._states]
        sequence.tape.op_multi_out(
            "Scan",
            [*inputs, *self._scan_inputs.values()],
            attributes,
            outputs=[*finals, *self._scan_outputs.values()],
        )

    def _body_outputs(self, values: Sequence[ir.Value]) -> list[ir.Value]:
        """Return the outputs of the body: each of its own, and computed by one of its nodes.

        tract also refuses a collected output that nodes of the body use.
        """
        outputs: list[ir.Value] = []
        copies = [self._in_terms_of_body(value) for value in values]
        computed = {output for node in self._body.nodes for output in node.outputs}
        for place, (old, value) in enumerate(zip(values, copies, strict=True)):
            used = place >= len(self._pairs) and value.uses()
            if value in outputs or value not in computed or used:
                value = self._body.op("Identity", [value])
            value.type, value.shape = old.type, ir.Shape(declared_shape(old))
            outputs.append(value)
        return outputs

    def _output_of_body(self, value: ir.Value) -> BatchedValue | None:
        """Return a value that the body computes, collected over all steps."""
        in_body = value in self._recurrent or value in self._states
        if not in_body or value not in self._step.stateful or self._batcher is None:
            return None
        axis = self._step.batch_axis(value)
        return self._batcher.from_sequence_axis(value, self._collect(value), axis, 0)

    def _collect(self, value: ir.Value) -> ir.Value:
        """Return the Scan output that holds `value` at all steps: (sequence, …)."""
        if value not in self._scan_outputs:
            self._scan_outputs[value] = _like(value, SEQUENCE)
        return self._scan_outputs[value]

    def _result_of_body(self, port: ir.Value) -> ir.Value:
        """Return a result that the body computes, its sequence axis in its place."""
        collected, tape = self._collect(port), self._sequence.tape
        order = list(range(1, len(declared_shape(port)) + 1))
        order.insert(self._step.sequence_axis(port), 0)
        return tape.op("Transpose", [collected], {"perm": order}) if order[0] else collected

    def _in_terms_of_body(self, value: ir.Value) -> ir.Value:
        """Return `value` as the nodes of the body read it."""
        step = self._step
        if value in self._copies:
            return self._copies[value]
        if value not in step.varying:
            floating = value.dtype is not None and value.dtype.is_floating_point()
            outside = floating or value in step.constants
            copier = self._sequence.copier if outside else self._body_copier
            self._copies[value] = copier.constant(value)
        elif value in step.stateful or not self._add_scan_input(value):
            node = value.producer()
            if node is None:
                raise UnsupportedModelError(f"`{value.name}` is no input and computed by no node.")
            inputs = [old and self._in_terms_of_body(old) for old in node.inputs]
            copies = self._body_copier.node(node, inputs)
            self._copies.update(zip(node.outputs, copies, strict=True))
        return self._copies[value]

    def _add_scan_input(self, value: ir.Value) -> bool:
        """Make a value that depends on data alone an input of the body, if that can be."""
        try:
            whole = self._at_all_steps(value, 0)
        except MixedBatchError:
            if value not in self._step.data:
                return False
            whole, axis = self._sequence.inputs[value], self._step.sequence_axis(value)
            if axis:
                rest = [old for old in range(len(declared_shape(value)) + 1) if old != axis]
                perm = {"perm": [axis, *rest]}
                whole = self._sequence.tape.op("Transpose", [whole], perm)
        self._copies[value] = _like(value)
        self._scan_inputs[self._copies[value]] = whole
        return True


def _like(value: ir.Value, *outer: str) -> ir.Value:
    """Return a new value like another, with axes in front of its own."""
    shape = ir.Shape([*outer, *declared_shape(value)])
    return ir.Value(name=value.name, type=value.type, shape=shape)
