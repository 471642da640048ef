"""The sequence graph of a one-step graph as an ONNX Scan.

What passes from step to step is the body. What comes before it and what comes after it runs on all
steps at once, as rows of one batch, wherever it keeps rows apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir
from onnx_ir.tape import Tape

from edgernn.contract import SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.shapes import Dim
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape
from edgernn.export.lift.state_flow import carried_pairs
from edgernn.export.lift.step_graph import SequenceGraphBuilder, StepGraph
from edgernn.export.lift.time_batching import BatchedValue, NodeCopier, TimeBatcher

__all__ = ["scan_form"]


def scan_form(one: StepGraph, backward: bool = False) -> ir.Model:
    """Return the sequence graph of `one` with a Scan.

    Args:
        one: The one-step graph, in primitive operators.
        backward: Whether it runs from the last step to the first.
    """
    pairs = carried_pairs(one.graph, one.states)
    core = _core(one.graph, [after for _, after in pairs], one.stateful)
    inside: list[ir.Value] = []
    while True:
        form = _ScanForm(one, pairs, core, inside)
        refused = form.refused()
        if refused is None:
            return form.model(backward)
        inside.append(refused)


def _core(graph: ir.Graph, ends: Iterable[ir.Value], within: set[ir.Value]) -> set[ir.Value]:
    """Return the values of `within` that `ends` are computed from, `ends` among them."""
    core = set(ends)
    for node in reversed(graph):
        if any(output in core for output in node.outputs):
            core.update(value for value in node.inputs if value in within)
    return core


class _ScanForm:
    """One attempt at the Scan form.

    Args:
        one: The one-step graph.
        pairs: What passes from step to step: a value that starts a step, and its next value.
        core: The values that pass from step to step, and what they are computed from.
        inside: Data outputs that the body computes because they cannot run on all steps at once.
    """

    def __init__(
        self,
        one: StepGraph,
        pairs: Sequence[tuple[ir.Value, ir.Value]],
        core: set[ir.Value],
        inside: Sequence[ir.Value],
    ) -> None:
        self._one = one
        self._pairs = pairs
        self._core = core
        self._inside = inside
        self._new = SequenceGraphBuilder(one)
        self._body = Tape()
        self._graft = NodeCopier(self._body)
        self._before = {before: _like(before, declared_shape(before)) for before, _ in pairs}
        self._copies: dict[ir.Value, ir.Value] = dict(self._before)
        self._fed: dict[ir.Value, ir.Value] = {}
        self._collected: dict[ir.Value, ir.Value] = {}
        self._fold: TimeBatcher | None = self._make_fold()
        self._results: dict[ir.Value, ir.Value] = {}

    def refused(self) -> ir.Value | None:
        """Compute the data outputs; return one that must move into the body, or None."""
        for port in self._one.results:
            if port in self._inside:
                self._results[port] = self._from_body(port)
                continue
            try:
                if self._fold is None:
                    return port
                self._results[port] = self._new.result(port, self._fold, self._fold(port))
            except MixedBatchError:
                return port
        return None

    def model(self, backward: bool) -> ir.Model:
        """Return the graph, once no output is refused."""
        one, new = self._one, self._new
        if not self._fed:
            self._feed(one.data[0])  # Scan counts its steps by what it is fed
        after = [next_ for _, next_ in self._pairs]
        outputs = self._outputs([*after, *self._collected])
        body = ir.Graph(
            [*self._before.values(), *self._fed],
            outputs,
            nodes=self._body.nodes,
            initializers=self._body.initializers,
            opset_imports=one.graph.opset_imports,
            name="step",
        )
        states = {port: new.inputs[port] for port in one.states}
        finals = [_like(value, declared_shape(value)) for value in after]
        directions = {
            "scan_input_directions": [1] * len(self._fed),
            "scan_output_directions": [1] * len(self._collected),
        }
        new.tape.op_multi_out(
            "Scan",
            [*(new.moved(value, states) for value in self._before), *self._fed.values()],
            {"body": body, "num_scan_inputs": len(self._fed), **(directions if backward else {})},
            outputs=[*finals, *self._collected.values()],
        )
        known = dict(zip(after, finals, strict=True))
        values = {port: new.moved(port, known) for port in one.states.values()}
        model = new.finish(values | self._results)
        _name_apart(body)
        return model

    def _outputs(self, values: Sequence[ir.Value]) -> list[ir.Value]:
        """Return the outputs of the body: each of its own, and computed by one of its nodes.

        tract also refuses a collected output that nodes of the body use.
        """
        outputs: list[ir.Value] = []
        made = [self._inner(value) for value in values]
        inner = {output for node in self._body.nodes for output in node.outputs}
        for place, (old, value) in enumerate(zip(values, made, strict=True)):
            used = place >= len(self._pairs) and value.uses()
            if value in outputs or value not in inner or used:
                value = self._body.op("Identity", [value])
            value.type, value.shape = old.type, ir.Shape(declared_shape(old))
            outputs.append(value)
        return outputs

    def _make_fold(self) -> TimeBatcher | None:
        try:
            return self._new.fold(self._ready)
        except MixedBatchError:
            return None

    def _ready(self, value: ir.Value) -> BatchedValue | None:
        """Return a value that the body computes, collected over all steps."""
        passed = value in self._core or value in self._before
        if not passed or value not in self._one.stateful:
            return None
        if self._fold is None:
            return None
        return self._fold.port(value, self._collect(value), self._one.row_axis(value), 0)

    def _collect(self, value: ir.Value) -> ir.Value:
        """Return the Scan output that holds `value` of all steps: (sequence, …)."""
        if value not in self._collected:
            self._collected[value] = _like(value, [SEQUENCE, *declared_shape(value)])
        return self._collected[value]

    def _from_body(self, port: ir.Value) -> ir.Value:
        """Return a data output that the body computes, in its final layout."""
        whole, tape = self._collect(port), self._new.tape
        order = list(range(1, len(declared_shape(port)) + 1))
        order.insert(self._one.sequence_axis(port), 0)
        return tape.op("Transpose", [whole], {"perm": order}) if order[0] else whole

    def _inner(self, value: ir.Value) -> ir.Value:
        """Return `value` as the nodes of the body see it."""
        if value in self._copies:
            return self._copies[value]
        if value not in self._one.varying:
            floating = value.dtype is not None and value.dtype.is_floating_point()
            outer = floating or value in self._one.constants
            graft = self._new.graft if outer else self._graft
            self._copies[value] = graft.constant(value)
        elif value in self._one.stateful or not self._feed(value):
            node = value.producer()
            if node is None:
                raise UnsupportedModelError(f"`{value.name}` is no input and computed by no node.")
            inputs = [old and self._inner(old) for old in node.inputs]
            self._copies.update(zip(node.outputs, self._graft.node(node, inputs), strict=True))
        return self._copies[value]

    def _feed(self, value: ir.Value) -> bool:
        """Make a value that depends on data alone an input of the body, if that can be."""
        one, new = self._one, self._new
        try:
            if self._fold is None:
                raise MixedBatchError("no data input has a batch axis")
            whole = self._fold.spread(self._fold(value), 0)
        except MixedBatchError:
            if value not in one.data:
                return False
            whole, axis = new.inputs[value], one.sequence_axis(value)
            if axis:
                order = [
                    axis,
                    *(old for old in range(len(declared_shape(value)) + 1) if old != axis),
                ]
                whole = new.tape.op("Transpose", [whole], {"perm": order})
        self._copies[value] = _like(value, declared_shape(value))
        self._fed[self._copies[value]] = whole
        return True


def _name_apart(body: ir.Graph) -> None:
    """Give the values of the body other names than those around it, which ONNX Runtime asks for."""
    for value in (*body.inputs, *(output for node in body for output in node.outputs)):
        value.name = f"step_{value.name}"


def _like(value: ir.Value, shape: Sequence[Dim]) -> ir.Value:
    return ir.Value(name=value.name, type=value.type, shape=ir.Shape(shape))
