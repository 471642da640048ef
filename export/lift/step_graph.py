"""A step graph as the lift reads it: its ports, what depends on what, and copies of its nodes.

Of a graph (x, rate, h_in) → (y, h_out) with the state h_in → h_out and the constant input `rate`,
x is data and y a result; what depends on h_in is stateful, what depends on h_in or x varies from
step to step, and what depends on `rate` alone is constant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.dataflow import descendants
from edgernn.export.ir.recurrent_operators import is_recurrent, kind_of
from edgernn.export.ir.shapes import Dim, refine_shapes
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape

__all__ = ["NodeCopier", "StepGraph"]

_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class StepGraph:
    """A graph of one time step, and where its ports go in the sequence graph.

    Attributes:
        model: A copy of the model, with shapes inferred and constants as initializers.
        states: The state inputs, each with its state output.
        data: The other inputs.
        results: The other outputs.
        constants: All values that depend only on inputs that are the same at all steps.
        stateful: All values that depend on a state.
        varying: All values that depend on a state or on data.
        batch: The size of the batch: `batch`, or a number where it is constant.
    """

    def __init__(
        self,
        model: ir.Model,
        states: Sequence[tuple[str, str]],
        sequence_axes: Mapping[str, int],
        constants: Collection[str] = (),
    ) -> None:
        self.model = _prepare(model)
        self.graph = graph = self.model.graph
        self.states = {
            _port(graph.inputs, before, "input"): _port(graph.outputs, after, "output")
            for before, after in states
        }
        same = [_port(graph.inputs, name, "input") for name in constants]
        self.data = [port for port in graph.inputs if port not in (*self.states, *same)]
        after = set(self.states.values())
        self.results = [port for port in graph.outputs if port not in after]
        data = [*self.data, *self.results]
        self._axes = {_port(data, name, "data port"): axis for name, axis in sequence_axes.items()}
        self.stateful = descendants(graph, self.states)
        self.varying = descendants(graph, [*self.states, *self.data])
        self.constants = descendants(graph, same) - self.varying
        self.batch = self._batch()

    def batch_axis(self, value: ir.Value) -> int:
        """Return the batch axis of `value`, by its declared shape.

        Raises:
            MixedBatchError: It has none.
        """
        shape = declared_shape(value)
        if self.batch not in shape:
            raise MixedBatchError(f"`{value.name}` has no batch axis")
        return shape.index(self.batch)

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

    def _batch(self) -> Dim:
        shapes = [declared_shape(port) for port in self.graph.inputs]
        if any(BATCH in shape for shape in shapes):
            return BATCH
        return next((declared_shape(port)[0] for port in self.data if declared_shape(port)), None)


class NodeCopier:
    """Copies nodes and constants of one graph onto a tape, but for values with `copies`."""

    def __init__(self, tape: Tape, copies: Mapping[ir.Value, ir.Value] | None = None) -> None:
        self.tape = tape
        self._constants = dict(copies or {})
        self._integers: dict[tuple[int, ...], ir.Value] = {}

    def node(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], shaped: bool = True
    ) -> Sequence[ir.Value]:
        """Add a copy of `node` with other inputs; return its outputs, `shaped` as the node's."""
        return self.tape.op_multi_out(
            node.op_type,
            inputs,
            node.attributes,
            domain=node.domain,
            outputs=[
                ir.Value(name=old.name, type=old.type, shape=old.shape if shaped else None)
                for old in node.outputs
            ],
        )

    def constant(self, value: ir.Value) -> ir.Value:
        """Return the copy of a value computed from weights and values with copies alone."""
        if value not in self._constants:
            producer = value.producer()
            if producer is None:
                tensor = value.const_value
                if tensor is None:
                    raise UnsupportedModelError(f"Initializer `{value.name}` has no value.")
                self._constants[value] = self.tape.initializer(tensor, name=value.name)
            else:
                inputs = [operand and self.constant(operand) for operand in producer.inputs]
                copies = self.node(producer, inputs)
                self._constants.update(zip(producer.outputs, copies, strict=True))
        return self._constants[value]

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """Return an int64 vector."""
        key = tuple(numbers)
        if key not in self._integers:
            name = "_".join(["sizes", *map(str, key)])
            self._integers[key] = self.tape.initializer(ir.tensor(np.array(key, np.int64)), name)
        return self._integers[key]


def _prepare(model: ir.Model) -> ir.Model:
    """Return a copy of `model` with the shapes that can be inferred, or refuse it."""
    model = model.clone()
    for node in tuple(model.graph):
        if is_recurrent(node):
            _use_final_h(model.graph, node)
        if any(attribute.type in _SUBGRAPHS for attribute in node.attributes.values()):
            raise UnsupportedModelError(
                f"`{node.name}` ({node.op_type}) is control flow inside one step, which has no "
                "form over time. Write the step without it."
            )
    declared = [port.shape for port in model.graph.outputs]
    refine_shapes(model)
    for port, shape in zip(model.graph.outputs, declared, strict=True):
        if port.shape is None or None in declared_shape(port):
            port.shape = shape
    for port in (*model.graph.inputs, *model.graph.outputs):
        if port.shape is None or None in declared_shape(port):
            raise UnsupportedModelError(
                f"`{port.name}` has no declared shape. Declare a size or a name for each axis."
            )
    return model


def _use_final_h(graph: ir.Graph, node: ir.Node) -> None:
    """Put Y_h in the place of Y, which has the same elements in one step."""
    node.resize_outputs(1 + len(kind_of(node).states))
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


def _port(ports: Sequence[ir.Value], name: str, role: str) -> ir.Value:
    by_name = {str(port.name): port for port in ports}
    if name not in by_name:
        raise UnsupportedModelError(
            f"The one-step graph has no {role} `{name}`. It has: {', '.join(map(repr, by_name))}."
        )
    return by_name[name]
