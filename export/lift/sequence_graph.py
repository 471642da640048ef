"""The sequence graph of a step graph, under construction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnx_ir.tape import Tape

from edgernn.contract import BATCH
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape
from edgernn.export.lift.state_flow import ChangedStateError, is_movement
from edgernn.export.lift.step_graph import NodeCopier, StepGraph
from edgernn.export.lift.time_batching import BatchedValue, TimeBatcher

__all__ = ["SequenceGraphBuilder"]


class SequenceGraphBuilder:
    """Collects the nodes of a sequence graph, and makes it of them.

    Attributes:
        step: The step graph.
        tape: The nodes so far.
        copier: Copies nodes and constants of the step graph onto the tape.
        inputs: The input of the sequence graph for each one of the step graph.
    """

    def __init__(self, step: StepGraph) -> None:
        self.step = step
        self.tape = Tape()
        self.inputs = {
            port: ir.Value(name=port.name, type=port.type, shape=self._shape(port))
            for port in step.graph.inputs
        }
        constants = {old: new for old, new in self.inputs.items() if old in step.constants}
        self.copier = NodeCopier(self.tape, constants)

    def batcher(self, source: Callable[[ir.Value], BatchedValue | None]) -> TimeBatcher:
        """Return what computes values at all steps from the data inputs and those of `source`.

        Raises:
            MixedBatchError: No data input has a batch axis.
        """
        step = self.step

        def source_or_input(value: ir.Value) -> BatchedValue | None:
            if value not in step.data:
                return source(value)
            return batcher.from_sequence_axis(
                value, self.inputs[value], step.batch_axis(value), step.sequence_axis(value)
            )

        first, batch_size = step.data[0], self._batch_size()
        steps = self._size(first, step.sequence_axis(first))
        batcher = TimeBatcher(step, self.copier, batch_size, steps, source_or_input)
        return batcher

    def moved(self, value: ir.Value, known: Mapping[ir.Value, ir.Value]) -> ir.Value:
        """Return the copy of a value of the step graph that is only moved from `known` ones.

        Raises:
            ChangedStateError: An operator on the way computes new elements.
        """
        if value in known:
            return known[value]
        if value not in self.step.varying:
            return self.copier.constant(value)
        node = value.producer()
        if node is None or not is_movement(node):
            raise ChangedStateError(f"`{value.name}` is not a state moved about")
        operands = list(node.inputs)
        inputs: list[ir.Value | None] = []
        if node.op_type == "Reshape" and operands[1] in self.step.varying:
            shape = [size if isinstance(size, int) else -1 for size in declared_shape(value)]
            inputs.append(self.copier.integers(shape))
            del operands[1]
        moved = [operand and self.moved(operand, known) for operand in operands]
        return self.copier.node(node, [*moved, *inputs])[value.index() or 0]

    def finish(self, values: Mapping[ir.Value, ir.Value]) -> ir.Model:
        """Return the sequence graph, with its value for each output of the step graph."""
        old = self.step.model
        graph = ir.Graph(
            list(self.inputs.values()),
            self._outputs(values),
            nodes=self.tape.nodes,
            initializers=_with_unique_names(self.tape.initializers),
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

    def _outputs(self, values: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
        """Return the outputs: each a value of its own, with the name and type of its port."""
        outputs: list[ir.Value] = []
        for port in self.step.graph.outputs:
            value = values[port]
            if value in outputs or value.producer() is None:
                value = self.tape.op("Identity", [value])
            value.name, value.type = port.name, port.type
            value.shape = self._shape(port)
            outputs.append(value)
        return outputs

    def _shape(self, port: ir.Value) -> ir.Shape:
        """Return the shape in the sequence graph of a port of the step graph."""
        data = port in (*self.step.data, *self.step.results)
        return ir.Shape(self.step.sequence_shape(port) if data else declared_shape(port))

    def _batch_size(self) -> ir.Value | int:
        if isinstance(self.step.batch, int):
            return self.step.batch
        for port in self.step.data:
            shape = self.step.sequence_shape(port)
            if BATCH in shape:
                return self._size(port, shape.index(BATCH))
        raise MixedBatchError("no data input has a batch axis")

    def _size(self, port: ir.Value, axis: int) -> ir.Value:
        """Return the size of an axis of an input as an int64 vector of one element."""
        size = self.tape.op("Shape", [self.inputs[port]], {"start": axis, "end": axis + 1})
        size.type, size.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([1])
        return size


def _with_unique_names(initializers: Sequence[ir.Value]) -> list[ir.Value]:
    names: Counter[str] = Counter()
    for value in initializers:
        name = value.name or "constant"
        names[name] += 1
        value.name = name if names[name] == 1 else f"{name}_{names[name]}"
    return list(initializers)
