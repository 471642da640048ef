"""Recurrent nodes of files whose sequences end at lengths, as nodes without `sequence_lens`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.foreign.recurrent_nodes import canonical_attributes
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import Input, directions_of, kind_of
from edgernn.export.lower.sequence_mask import SequenceEnds, split_directions

__all__ = ["remove_lengths"]

Array = NDArray[np.float32]


def remove_lengths(graph: ir.Graph, node: ir.Node) -> None:
    """Write a recurrent node with lengths as one forward node per direction without, in place.

    Args:
        graph: The graph of the node.
        node: A node that has constant weights, a bias, its initial states and its lengths.
    """
    masked = _MaskedNode(node)
    results = masked.results()
    for value in masked.tape.initializers:
        graph.register_initializer(value)
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], masked.tape.nodes, node.outputs, results
    )


class _MaskedNode:
    """The nodes that replace one with lengths.

    Attributes:
        tape: The nodes.
    """

    def __init__(self, node: ir.Node) -> None:
        self.tape = Tape()
        self._constants: dict[str, ir.Value] = {}
        self._node, self._kind, self._name = node, kind_of(node), node_label(node)
        x, lengths = node.inputs[Input.X], node.inputs[Input.SEQUENCE_LENS]
        assert x is not None
        assert lengths is not None
        self._x = x
        int64 = self.tape.op("Cast", [lengths], {"to": ir.DataType.INT64})
        self._ends = SequenceEnds(self.tape, x, int64, self._name)

    def results(self) -> list[ir.Value]:
        """Return Y (sequence, D, batch, H), zero after the ends, and the final states."""
        backward = directions_of(self._node)
        states = [self._node.inputs[place] for place in self._kind.initial_states]
        given = [state for state in states if state is not None]
        starts = split_directions(self.tape, given, len(backward), self._ones)
        directions = [
            self._direction(place, *direction)
            for place, direction in enumerate(zip(backward, starts, strict=True))
        ]
        axes = [1, *([0] * len(given))]
        return [
            parts[0] if len(parts) == 1 else self.tape.op("Concat", parts, {"axis": axis})
            for axis, parts in zip(axes, zip(*directions, strict=True), strict=True)
        ]

    def _direction(self, place: int, backward: bool, states: Sequence[ir.Value]) -> list[ir.Value]:
        """Write one direction; return Y (sequence, 1, batch, H) and its final states."""
        name = f"{self._name}_{place}"
        w, *others = (self._weights(one)[place : place + 1] for one in (Input.W, Input.R, Input.B))
        run = partial(self._operator, place, states, others)
        y, *after = self._ends.run_direction(self._kind, self._x, w, run, backward)
        zero = self._constant(np.zeros((), np.float32), f"{name}_zero")
        y = self.tape.op("Where", [self._ends.after_end(), zero, y])
        return [self.tape.op("Unsqueeze", [y, self._axis(name)]), *after]

    def _operator(
        self,
        place: int,
        states: Sequence[ir.Value],
        weights: Sequence[Array],
        x: ir.Value,
        w: Array,
    ) -> list[ir.Value]:
        name = f"{self._name}_{place}"
        constants = [
            self._constant(array, f"{name}_{letter}")
            for letter, array in zip("WRB", (w, *weights), strict=True)
        ]
        y, *after = self.tape.op_multi_out(
            self._node.op_type,
            [x, *constants, None, *states],
            canonical_attributes(self._node, weights[0].shape[-1], [place]),
            num_outputs=1 + len(states),
            name=name,
        )
        return [self.tape.op("Squeeze", [y, self._axis(name)]), *after]

    def _weights(self, place: int) -> Array:
        array = constant_of(self._node.inputs[place])
        assert array is not None
        return array

    def _ones(self) -> ir.Value:
        return self._constant(np.array([1, 1]), f"{self._name}_directions")

    def _axis(self, name: str) -> ir.Value:
        return self._constant(np.array([1]), f"{name}_axis")

    def _constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        """Return the constant of a name, made at its first use."""
        if name not in self._constants:
            tensor = ir.tensor(np.ascontiguousarray(array), name=name)
            self._constants[name] = self.tape.initializer(tensor)
        return self._constants[name]
