"""Recurrent nodes whose sequences end at lengths, in operators that every runtime has.

ONNX's `sequence_lens` is ignored by several runtimes without a word. What takes its place is what
packed sequences of torch become: behind its end a state is held still, the output there is zero,
and a backward direction is a forward one over sequences reversed within their lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from edgernn.export.analysis.patterns import direction_of, label
from edgernn.export.foreign.recurrent_nodes import states_of
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import STILL
from edgernn.export.lower.sequence_mask import Ends

__all__ = ["end_sequences"]

_LENGTHS, _H = 4, 5


def end_sequences(graph: ir.Graph, node: ir.Node) -> None:
    """Write a recurrent node with lengths as forward nodes without, in place.

    Args:
        graph: The graph of the node.
        node: A node that has constant weights, a bias, its initial states and its lengths.
    """
    ended = _Ended(node)
    y, *finals = ended.results()
    for value in ended.tape.initializers:
        graph.register_initializer(value)
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], ended.tape.nodes, node.outputs, [y, *finals]
    )


class _Ended:
    """The nodes that take the place of one with lengths.

    Attributes:
        tape: The nodes.
    """

    def __init__(self, node: ir.Node) -> None:
        self.tape = Tape()
        self._node = node
        x, lengths = node.inputs[0], node.inputs[_LENGTHS]
        assert x is not None
        assert lengths is not None
        self._x = x
        whole = self.tape.op("Cast", [lengths], {"to": ir.DataType.INT64})
        self._ends = Ends(self.tape, x, whole, label(node))

    def results(self) -> list[ir.Value]:
        """Return Y (sequence, D, batch, H), zero behind the ends, and the final states."""
        direction = direction_of(self._node)
        backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
        ways = [
            self._way(place, turned, initial)
            for place, (turned, initial) in enumerate(
                zip(backward[direction], self._initials(len(backward[direction])), strict=True)
            )
        ]
        axes = [1, *([0] * states_of(self._node))]
        return [
            parts[0] if len(parts) == 1 else self.tape.op("Concat", parts, {"axis": axis})
            for axis, parts in zip(axes, zip(*ways, strict=True), strict=True)
        ]

    def _way(self, place: int, turned: bool, initial: Sequence[ir.Value]) -> list[ir.Value]:
        """Run one direction; return Y (sequence, 1, batch, H) and its final states."""
        x = self._ends.reversed(self._x) if turned else self._x
        w, r, b = (self._weight(index, place) for index in (1, 2, 3))
        if still := STILL.get(self._node.op_type):
            column = np.repeat(np.array(still, np.float32), w.shape[1] // len(still))
            w = np.concatenate([w, column[None, :, None]], axis=2)
            x = self.tape.op("Concat", [x, self._ends.behind_as_float()], {"axis": 2})
        name = f"{label(self._node)}_{place}"
        weights = [
            self._constant(array, f"{name}_{letter}")
            for letter, array in zip("WRB", (w, r, b), strict=True)
        ]
        steps, *after = self.tape.op_multi_out(
            self._node.op_type,
            [x, *weights, None, *initial],
            self._attributes(place, r.shape[-1]),
            num_outputs=1 + len(initial),
            name=name,
        )
        one = self._constant(np.array([1]), f"{name}_axis")
        y = self.tape.op("Squeeze", [steps, one])
        if self._node.op_type != "GRU":
            after[0] = self._ends.last(y)
        y = self._ends.reversed(y) if turned else y
        zero = self._constant(np.zeros((), np.float32), f"{name}_zero")
        y = self.tape.op("Where", [self._ends.behind(), zero, y])
        return [self.tape.op("Unsqueeze", [y, one]), *after]

    def _attributes(self, place: int, hidden_size: int) -> dict[str, int | list[str]]:
        attributes: dict[str, int | list[str]] = {"hidden_size": hidden_size}
        if self._node.attributes.get_int("linear_before_reset", 0):
            attributes["linear_before_reset"] = 1
        if self._node.op_type == "RNN":
            names = self._node.attributes.get_strings("activations", ["Tanh", "Tanh"])
            attributes["activations"] = [names[place].capitalize()]
        return attributes

    def _initials(self, directions: int) -> list[Sequence[ir.Value]]:
        """Return the initial states of each direction."""
        states = [self._node.inputs[_H + index] for index in range(states_of(self._node))]
        given = [state for state in states if state is not None]
        if directions == 1:
            return [given]
        sizes = self._constant(np.array([1, 1]), f"{label(self._node)}_directions")
        halves = [
            self.tape.op_multi_out("Split", [state, sizes], {"axis": 0}, num_outputs=2)
            for state in given
        ]
        return list(zip(*halves, strict=True))

    def _weight(self, index: int, place: int) -> NDArray[np.float32]:
        array = constant_of(self._node.inputs[index])
        assert array is not None
        return array[place : place + 1]

    def _constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        return self.tape.initializer(ir.tensor(np.ascontiguousarray(array), name=name))
