"""A one-step graph as it is read, and the sequence graph that is written from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnx_ir.tape import Tape

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.shapes import Dim, refine_shapes
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape
from edgernn.export.lift.state_flow import ChangedStateError, is_movement
from edgernn.export.lift.time_batching import BatchedValue, NodeCopier, TimeBatcher, dependents

__all__ = ["INITIAL_STATES", "SequenceGraphBuilder", "StepGraph", "keep_declared"]

INITIAL_STATES = {
    ("", "GRU"): (5,),
    ("", "LSTM"): (5, 6),
    ("", "RNN"): (5,),
    ("edgernn", "LSTM"): (5, 6),
}
"""The recurrent operators, and which of their inputs are initial states: h, and c of an LSTM."""


class StepGraph:
    """A graph of one time step and what is to become of its ports.

    Attributes:
        model: A copy of the model, with shapes inferred and constants as initializers.
        states: The state inputs, each with its state output.
        data: The other inputs.
        results: The other outputs.
        constants: All values that depend on inputs alone that are the same at all steps.
        stateful: All values that depend on a state.
        varying: All values that depend on a state or on data.
        rows: The size of the rows of one step: `batch`, or a number where the batch is constant.
    """

    def __init__(
        self,
        model: ir.Model,
        states: Sequence[tuple[str, str]],
        sequence_axes: Mapping[str, int],
        constants: Collection[str] = (),
    ) -> None:
        self.model = _prepared(model)
        self.graph = graph = self.model.graph
        inputs, outputs = _by_name(graph.inputs), _by_name(graph.outputs)
        self.states = {
            _port(inputs, before, "input"): _port(outputs, after, "output")
            for before, after in states
        }
        alike = [_port(inputs, name, "input") for name in constants]
        self.data = [port for port in graph.inputs if port not in (*self.states, *alike)]
        after = set(self.states.values())
        self.results = [port for port in graph.outputs if port not in after]
        results = _by_name(self.results)
        data = _by_name(self.data) | results
        self._axes = {_port(data, name, "data port"): axis for name, axis in sequence_axes.items()}
        self.stateful = dependents(graph, self.states)
        self.varying = dependents(graph, [*self.states, *self.data])
        self.constants = dependents(graph, alike) - self.varying
        self.rows = self._rows()

    def row_axis(self, value: ir.Value) -> int:
        """Return the axis of the rows of `value`, by its declared shape.

        Raises:
            MixedBatchError: It has none.
        """
        shape = declared_shape(value)
        if self.rows not in shape:
            raise MixedBatchError(f"`{value.name}` has no batch axis")
        return shape.index(self.rows)

    def sequence_axis(self, port: ir.Value) -> int:
        """Return the place of the new axis in the new shape of a data port."""
        shape = declared_shape(port)
        axis = self._axes.get(port, shape.index(BATCH) + 1 if BATCH in shape else 0)
        if not 0 <= axis <= len(shape):
            raise UnsupportedModelError(
                f"`{port.name}` has {len(shape)} axes in one step, so the sequence axis goes to 0 "
                f"to {len(shape)}, not {axis}. Choose one of these."
            )
        return axis

    def sequence_shape(self, port: ir.Value) -> tuple[Dim, ...]:
        """Return the shape of a data port with the new axis."""
        shape, axis = declared_shape(port), self.sequence_axis(port)
        return (*shape[:axis], SEQUENCE, *shape[axis:])

    def _rows(self) -> Dim:
        shapes = [declared_shape(port) for port in self.graph.inputs]
        if any(BATCH in shape for shape in shapes):
            return BATCH
        return next((declared_shape(port)[0] for port in self.data if declared_shape(port)), None)


class SequenceGraphBuilder:
    """The sequence graph of a one-step graph, under construction.

    Attributes:
        one: The one-step graph.
        tape: The nodes so far.
        graft: Copies nodes and constants onto the tape.
        inputs: The new input of each old one.
    """

    def __init__(self, one: StepGraph) -> None:
        self.one = one
        self.tape = Tape()
        self.graft = NodeCopier(self.tape)
        self.inputs = {port: self._input(port) for port in one.graph.inputs}
        self.graft.know({port: new for port, new in self.inputs.items() if port in one.constants})
        self._outputs: dict[ir.Value, ir.Value] = {}

    def fold(self, source: Callable[[ir.Value], BatchedValue | None]) -> TimeBatcher:
        """Return a fold of the one-step graph, with values that `source` has ready.

        Raises:
            MixedBatchError: No data input has a batch axis.
        """
        one = self.one

        def with_ports(value: ir.Value) -> BatchedValue | None:
            if value not in one.data:
                return source(value)
            new, sequence = self.inputs[value], one.sequence_axis(value)
            return fold.port(value, new, one.row_axis(value), sequence)

        rows, steps = self._rows(), self._steps()
        fold = TimeBatcher(
            self.graft, one.varying, with_ports, rows, one.constants, one.rows, steps
        )
        return fold

    def moved(self, value: ir.Value, known: Mapping[ir.Value, ir.Value]) -> ir.Value:
        """Copy the movement from `known` values to `value`.

        Raises:
            ChangedStateError: Something other than movement lies on the way.
        """
        if value in known:
            return known[value]
        if value not in self.one.varying:
            return self.graft.constant(value)
        node = value.producer()
        if node is None or not is_movement(node):
            raise ChangedStateError(f"`{value.name}` is not a state moved about")
        operands = list(node.inputs)
        inputs: list[ir.Value | None] = []
        if node.op_type == "Reshape" and operands[1] in self.one.varying:
            shape = [size if isinstance(size, int) else -1 for size in declared_shape(value)]
            inputs.append(self.graft.integers(shape))
            del operands[1]
        moved = [operand and self.moved(operand, known) for operand in operands]
        return self.graft.node(node, [*moved, *inputs])[value.index() or 0]

    def result(self, port: ir.Value, fold: TimeBatcher, folded: BatchedValue) -> ir.Value:
        """Return the value for a data output that was computed for all steps."""
        return fold.spread(folded, self.one.sequence_axis(port))

    def finish(self, values: Mapping[ir.Value, ir.Value]) -> ir.Model:
        """Return the model whose output for each old output is the value given for it."""
        outputs: list[ir.Value] = []
        for port in self.one.graph.outputs:
            value = values[port]
            if value in outputs or value.producer() is None:
                value = self.tape.op("Identity", [value])
            value.name, value.type = port.name, port.type
            data = port in self.one.results
            value.shape = ir.Shape(self.one.sequence_shape(port) if data else declared_shape(port))
            outputs.append(value)
        old = self.one.model
        graph = ir.Graph(
            list(self.inputs.values()),
            outputs,
            nodes=self.tape.nodes,
            initializers=_used_once(self.tape.initializers),
            opset_imports=old.graph.opset_imports,
            name=old.graph.name,
        )
        model = ir.Model(
            graph,
            ir_version=old.ir_version,
            producer_name=old.producer_name,
            metadata_props=dict(old.metadata_props),
        )
        tidy = ir.passes.Sequential(
            passes.TopologicalSortPass(),
            passes.RemoveUnusedNodesPass(),
            passes.DeduplicateInitializersPass(),
            passes.NameFixPass(),
        )
        return tidy(model).model

    def _input(self, port: ir.Value) -> ir.Value:
        shape = self.one.sequence_shape(port) if port in self.one.data else declared_shape(port)
        return ir.Value(name=port.name, type=port.type, shape=ir.Shape(shape))

    def _steps(self) -> ir.Value:
        port = self.one.data[0]
        axis = self.one.sequence_axis(port)
        steps = self.tape.op("Shape", [self.inputs[port]], {"start": axis, "end": axis + 1})
        steps.type, steps.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([1])
        return steps

    def _rows(self) -> ir.Value | int:
        if isinstance(self.one.rows, int):
            return self.one.rows
        for port in self.one.data:
            shape = self.one.sequence_shape(port)
            if BATCH in shape:
                axis = shape.index(BATCH)
                bounds = {"start": axis, "end": axis + 1}
                rows = self.tape.op("Shape", [self.inputs[port]], bounds)
                rows.type, rows.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([1])
                return rows
        raise MixedBatchError("no data input has a batch axis")


def _prepared(model: ir.Model) -> ir.Model:
    model = model.clone()
    for node in tuple(model.graph):
        if (node.domain, node.op_type) in INITIAL_STATES:
            _use_final_h(model.graph, node)
        if any(attribute.type in _SUBGRAPHS for attribute in node.attributes.values()):
            raise UnsupportedModelError(
                f"`{node.name}` ({node.op_type}) is control flow inside one step, which has no "
                "form over time. Write the step without it."
            )
    declared = [port.shape for port in model.graph.outputs]
    refine_shapes(model)
    keep_declared(model, declared)
    for port in (*model.graph.inputs, *model.graph.outputs):
        if port.shape is None or None in declared_shape(port):
            raise UnsupportedModelError(
                f"`{port.name}` has no declared shape. Declare a size or a name for each axis."
            )
    return model


def keep_declared(model: ir.Model, declared: Sequence[ir.Shape | None]) -> None:
    """Give outputs whose shapes inference leaves open the declared ones, in place."""
    for port, shape in zip(model.graph.outputs, declared, strict=True):
        port.shape = shape if port.shape is None or None in declared_shape(port) else port.shape


_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _use_final_h(graph: ir.Graph, node: ir.Node) -> None:
    """Put Y_h in the place of Y: in one step both are the same numbers."""
    node.resize_outputs(1 + len(INITIAL_STATES[node.domain, node.op_type]))
    y, final = node.outputs[:2]
    if not y.uses() and not y.is_graph_output():
        return
    if final.shape is None and y.shape is not None:
        final.type, final.shape = y.type, ir.Shape(declared_shape(y)[1:])
    tape = Tape()
    first = tape.op("Constant", [], {"value_ints": [0]})
    whole = tape.op("Unsqueeze", [final, first])
    whole.type, whole.shape = y.type, y.shape
    whole.name, y.name = y.name, f"{y.name}_directions"
    graph.insert_after(node, tape.nodes)
    ir.convenience.replace_all_uses_with(y, whole, replace_graph_outputs=True)


def _used_once(initializers: Sequence[ir.Value]) -> list[ir.Value]:
    """Give every initializer a name of its own."""
    names: dict[str, int] = {}
    for value in initializers:
        name = value.name or "constant"
        names[name] = names.get(name, 0) + 1
        value.name = name if names[name] == 1 else f"{name}_{names[name]}"
    return list(initializers)


def _by_name(ports: Sequence[ir.Value]) -> dict[str, ir.Value]:
    return {str(port.name): port for port in ports}


def _port(ports: Mapping[str, ir.Value], name: str, role: str) -> ir.Value:
    if name not in ports:
        raise UnsupportedModelError(
            f"The one-step graph has no {role} `{name}`. It has: {', '.join(map(repr, ports))}."
        )
    return ports[name]
