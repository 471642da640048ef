"""Layers that run several steps of their own within one step, as over a window of past frames.

GRU(x[0:3], h)   becomes   GRU(x[0], h) → h → GRU(x[1], h) → h → GRU(x[2], h)

Each is then one step of a cell, in every direction. Layers along another axis than time, such as
the bins of a frame, stay operators: written out they are slower from 2 steps on, and large.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of, replace_value
from edgernn.export.ir.recurrent_operators import (
    Input,
    directions_of,
    input_of,
    kind_of,
    recurrent_nodes,
)
from edgernn.export.ir.shapes import refine_shapes, shape_of

__all__ = ["unroll_layers"]

_MOST = 128
"""Steps that are written out; more make a graph that is slow to load."""


def unroll_layers(model: ir.Model, whole: ir.Model | None = None) -> None:
    """Write layers that run a constant number of steps, more than one, as that many, in place.

    Args:
        model: A step.
        whole: The same model for whole sequences. Layers that run as many steps in it run along
            another axis than time, and stay as they are.

    Raises:
        UnsupportedModelError: A layer runs more steps than are written out.
    """
    found = _steps_by_name(model)
    if set(found.values()) <= {1}:
        return
    own = {} if whole is None else _steps_by_name(whole)
    refine_shapes(model)
    for node in recurrent_nodes(model.graph):
        steps = _steps(node)
        if steps == 1 or node.domain or own.get(node.name) == steps:
            continue
        if steps > _MOST:
            raise UnsupportedModelError(
                f"`{node.name}` ({node.op_type}) runs {steps} steps within each step of the model; "
                f"at most {_MOST} are written out. Let forward look at fewer past steps at once."
            )
        _Unrolled(model.graph, node, steps).replace()


def _steps_by_name(model: ir.Model) -> dict[str | None, int]:
    """Return how many steps each recurrent node runs, by its name."""
    inferred = model.clone()
    refine_shapes(inferred)
    return {node.name: _steps(node) for node in recurrent_nodes(inferred.graph)}


def _steps(node: ir.Node) -> int:
    """Return how many steps a node runs, 1 where that is not known to be another number."""
    steps = (shape_of(node.inputs[0]) or (None,))[0]
    return steps if isinstance(steps, int) else 1


class _Unrolled:
    def __init__(self, graph: ir.Graph, node: ir.Node, steps: int) -> None:
        self._node = node
        self._graph = graph
        self._name = node.name or node.op_type.lower()
        self._builder = NodeBuilder(graph, node, f"{self._name}_")
        self._steps = steps
        self._kind = kind_of(node)

    def replace(self) -> None:
        """Put single steps in the place of the node."""
        node, builder = self._node, self._builder
        x = node.inputs[0]
        assert x is not None
        parts = self._split(x, self._steps, "x")
        directions = directions_of(node)
        states = self._initial_states(len(directions))
        outputs: list[list[ir.Value]] = []
        finals: list[list[ir.Value]] = []
        for place, backward in enumerate(directions):
            weights = [self._weights(index, place) for index in (Input.W, Input.R, Input.B)]
            order = range(self._steps)
            state, ys = states[place], {}
            for step in reversed(order) if backward else order:
                ys[step], *state = self._cell(parts[step], weights, state, f"{place}_{step}")
            outputs.append([ys[step] for step in order])
            finals.append(state)
        by_step = [
            self._joined([one[step] for one in outputs], 1, f"y_{step}")
            for step in range(self._steps)
        ]
        y = builder.op("Concat", *by_step, name="y", axis=0)
        joined = [
            self._joined([one[index] for one in finals], 0, f"final_{index}")
            for index in range(len(self._kind.states))
        ]
        for old, new in zip(node.outputs, [y, *joined], strict=False):
            replace_value(old, new)
        self._graph.remove(node, safe=True)

    def _split(self, value: ir.Value, count: int, name: str) -> list[ir.Value]:
        if count == 1:
            return [value]
        sizes = self._builder.constant(f"{name}_sizes", np.ones(count, np.int64))
        names = [f"{name}_{place}" for place in range(count)]
        return [*self._builder.op_multi_out("Split", value, sizes, names=names, axis=0)]

    def _joined(self, values: list[ir.Value], axis: int, name: str) -> ir.Value:
        if len(values) == 1:
            return values[0]
        return self._builder.op("Concat", *values, name=name, axis=axis)

    def _initial_states(self, directions: int) -> list[list[ir.Value]]:
        """Return the states that each direction starts from."""
        by_state = []
        for index in self._kind.initial_states:
            value = input_of(self._node, index)
            assert value is not None  # `lower` gives every layer its initial states
            by_state.append(self._split(value, directions, f"initial_{index}"))
        return [[state[place] for state in by_state] for place in range(directions)]

    def _weights(self, index: int, place: int) -> ir.Value:
        """Return the weights of one direction."""
        value = self._node.inputs[index]
        array = constant_of(value)
        assert value is not None
        assert array is not None
        if len(array) == 1:
            return value
        return self._builder.constant(f"{Input(index).name}_{place}", array[place : place + 1])

    def _cell(
        self, x: ir.Value, weights: list[ir.Value], states: list[ir.Value], name: str
    ) -> list[ir.Value]:
        """Add one step; return its output and its states."""
        outputs = [ir.Value(name=f"{self._name}_{name}_{what}") for what in ("y", "h", "c")]
        attributes = [one for one in self._node.attributes.values() if one.name != "direction"]
        node = ir.Node(
            "",
            self._node.op_type,
            [x, *weights, None, *states],
            attributes,
            outputs=outputs[: 1 + len(states)],
            name=f"{self._name}_{name}",
            metadata_props=dict(self._node.metadata_props),
        )
        self._graph.insert_before(self._node, node)
        return [*node.outputs]
