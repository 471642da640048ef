"""From torch's recurrent calls to ONNX's LSTM, GRU and RNN operators.

`trace` leaves one node of domain `torch` per call; `lower` writes the operators in its place, one
per layer, with the weights as initializers in ONNX's order. An LSTM with projection has no ONNX
operator: it becomes `edgernn::LSTM`, which is the operator with one more input, P, and which
`scan` and `cells` write out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.capture.recurrent_calls import FUNCTIONS
from edgernn.export.ir.dataflow import input_dependencies
from edgernn.export.ir.private_operators import EDGERNN, LOOP, PAD, TORCH
from edgernn.export.ir.recurrent_operators import STILL
from edgernn.export.lower.sequence_mask import ends_of, padded

__all__ = ["length_ports", "lower", "recurrent_calls"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Kind:
    """How torch's function is written in ONNX.

    Attributes:
        operator: ONNX's operator.
        gates: For each gate in ONNX's order, its place in torch's: LSTM i f g o → i o f c, GRU
            r z n → z r h.
        attributes: What the operator needs to be told; of `activations`, one per direction.
    """

    operator: str
    gates: tuple[int, ...]
    attributes: Mapping[str, object]


_KINDS: Mapping[str, _Kind] = {
    "lstm": _Kind("LSTM", (0, 3, 1, 2), {}),
    "gru": _Kind("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "rnn_tanh": _Kind("RNN", (0,), {"activations": "Tanh"}),
    "rnn_relu": _Kind("RNN", (0,), {"activations": "Relu"}),
}


def recurrent_calls(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes that stand for recurrent calls and loops, in the order of the graph."""
    kinds = (*FUNCTIONS, LOOP)
    return [node for node in graph if node.domain == TORCH and node.op_type in kinds]


_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)


def length_ports(graph: ir.Graph) -> list[str]:
    """Return the names of the inputs that the lengths of packed sequences are computed from."""
    packed = [node for node in recurrent_calls(graph) if node.attributes.get_int("packed", 0)]
    lengths = [value for node in packed if (value := node.inputs[-1]) is not None]
    sources = [source for value in lengths for source in input_dependencies(value)]
    listed = [one for one in sources if one.dtype in _INTEGERS and len(one.shape or ()) == 1]
    return list(dict.fromkeys(one.name or "" for one in listed))


def lower(model: ir.Model, lengths: bool = True) -> None:
    """Write every recurrent call as ONNX operators, and leave the loops; in place.

    Args:
        model: A graph as `trace` leaves it.
        lengths: Whether packed sequences end at their lengths; else every step counts.

    Raises:
        UnsupportedModelError: A layer's weights are computed from the model's input.
    """
    calls = [node for node in model.graph if node.domain == TORCH and node.op_type != LOOP]
    for node in calls:
        tape = ir.tape.Tape()
        results = _results(node, tape, lengths)
        for value in tape.initializers:
            model.graph.register_initializer(value)
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], tape.nodes, node.outputs, results
        )
    if not recurrent_calls(model.graph):
        model.opset_imports.pop(TORCH, None)
    if any(node.domain == EDGERNN for node in model.graph):
        model.opset_imports[EDGERNN] = 1


def _results(node: ir.Node, tape: ir.tape.Tape, lengths: bool) -> list[ir.Value]:
    if node.op_type == PAD:
        y = node.inputs[0]
        assert y is not None
        return [padded(tape, node) if lengths else y]
    packed = lengths and node.attributes["packed"].as_int()
    return (_PackedLayers if packed else _Layers)(node, tape).results()


class _Layers:
    """The operators of one call."""

    def __init__(self, node: ir.Node, tape: ir.tape.Tape) -> None:
        self._node = node
        self._tape = tape
        self._cell = node.op_type.endswith("_cell")
        self._kind = _KINDS[node.op_type.removesuffix("_cell")]
        self._directions = 2 if node.attributes["bidirectional"].as_int() else 1
        self._num_layers = node.attributes["num_layers"].as_int()
        self._bias = bool(node.attributes["bias"].as_int())
        self._path = node.metadata_props.get("layer", node.op_type)
        self._count = 0
        states = 2 if self._kind.operator == "LSTM" else 1
        self._states = node.inputs[1 : 1 + states]
        end = len(node.inputs) - node.attributes["packed"].as_int()
        self._weights = [self._array(value) for value in node.inputs[1 + states : end]]

    def results(self) -> list[ir.Value]:
        """Emit the operators; return the values that take the place of the call's outputs."""
        op = self._tape.op
        x = self._node.inputs[0]
        assert x is not None
        states = [self._per_layer(state) for state in self._states]
        batch_first = bool(self._node.attributes["batch_first"].as_int())
        if self._cell:
            x = op("Unsqueeze", [x, self._ints([0])])
        elif batch_first:
            x = op("Transpose", [x], {"perm": [1, 0, 2]})
        finals: list[Sequence[ir.Value]] = []
        for layer in range(self._num_layers):
            x, after = self._layer(
                x, [state[layer] for state in states], *self._onnx_weights(layer)
            )
            finals.append(after)
        if self._cell:
            return [op("Squeeze", [final, self._ints([0])]) for final in finals[0]]
        if batch_first:
            x = op("Transpose", [x], {"perm": [1, 0, 2]})
        return [x, *(self._joined(layers) for layers in zip(*finals, strict=True))]

    def _layer(
        self, x: ir.Value, states: Sequence[ir.Value], *weights: Array | None
    ) -> tuple[ir.Value, Sequence[ir.Value]]:
        """Emit one layer; return its output (sequence, batch, D·H) and its final states."""
        y, *after = self._operator(x, states, weights, self._directions)
        return y if self._cell else self._merge_directions(y), after

    def _operator(
        self,
        x: ir.Value,
        states: Sequence[ir.Value],
        weights: Sequence[Array | None],
        directions: int,
    ) -> Sequence[ir.Value]:
        _, r, _, p = weights
        assert r is not None
        name = f"{self._path}_l{self._count}"
        constants = [
            None if array is None else self._constant(array, f"{name}_{letter}")
            for letter, array in zip("WRBP", weights, strict=True)
        ]
        attributes = {
            **self._kind.attributes,
            "hidden_size": r.shape[1] // len(self._kind.gates),
            "direction": "forward" if directions == 1 else "bidirectional",
        }
        if "activations" in attributes:
            attributes["activations"] = [attributes["activations"]] * directions
        self._count += 1
        return self._tape.op_multi_out(
            self._kind.operator,
            [x, *constants, *states],
            attributes,
            num_outputs=1 + len(states),
            domain="" if p is None else EDGERNN,
            name=name,
        )

    def _onnx_weights(self, layer: int) -> tuple[Array, Array, Array, Array | None]:
        """Return W (D, gates·H, I), R (D, gates·H, H or P), B (D, 2·gates·H), P (D, P, H)."""
        count = self._directions * self._num_layers
        each = len(self._weights) // count
        stacks: list[list[Array]] = [[], [], [], []]
        for direction in range(self._directions):
            first = (layer * self._directions + direction) * each
            w_ih, w_hh, *rest = self._weights[first : first + each]
            bias = rest[:2] if self._bias else [np.zeros(len(w_ih), np.float32)] * 2
            for stack, array in zip(
                stacks, [w_ih, w_hh, *rest[2 if self._bias else 0 :]], strict=False
            ):
                stack.append(array)
            stacks[3].append(np.concatenate([self._reordered(array) for array in bias]))
        w, r = ([self._reordered(array) for array in stack] for stack in stacks[:2])
        p = np.stack(stacks[2]) if stacks[2] else None
        return np.stack(w), np.stack(r), np.stack(stacks[3]), p

    def _reordered(self, rows: Array) -> Array:
        gates = np.split(rows, len(self._kind.gates))
        return np.concatenate([gates[place] for place in self._kind.gates])

    def _per_layer(self, state: ir.Value | None) -> list[ir.Value]:
        """Return the initial state of each layer, (D, batch, size) each."""
        assert state is not None
        if self._cell:
            return [self._tape.op("Unsqueeze", [state, self._ints([0])])]
        if self._num_layers == 1:
            return [state]
        sizes = self._ints([self._directions] * self._num_layers)
        return list(
            self._tape.op_multi_out(
                "Split", [state, sizes], {"axis": 0}, num_outputs=self._num_layers
            )
        )

    def _joined(self, finals: Sequence[ir.Value]) -> ir.Value:
        return finals[0] if len(finals) == 1 else self._tape.op("Concat", finals, {"axis": 0})

    def _merge_directions(self, y: ir.Value) -> ir.Value:
        """Turn Y (sequence, D, batch, H) into (sequence, batch, D·H)."""
        if self._directions == 1:
            return self._tape.op("Squeeze", [y, self._ints([1])])
        width = self._weights[1].shape[1] * self._directions
        y = self._tape.op("Transpose", [y], {"perm": [0, 2, 1, 3]})
        return self._tape.op("Reshape", [y, self._ints([0, 0, width])])

    def _array(self, value: ir.Value | None) -> Array:
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        if tensor is None:
            raise UnsupportedModelError(
                f"`{self._path}` has weights that forward computes from the model's input. Only "
                "weights that stay the same from call to call can be exported."
            )
        return np.asarray(tensor.numpy(), np.float32)

    def _constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        return self._tape.initializer(ir.tensor(array, name=name))

    def _ints(self, numbers: list[int]) -> ir.Value:
        name = f"{self._path}_{len(self._tape.initializers)}"
        return self._constant(np.array(numbers, np.int64), name)


class _PackedLayers(_Layers):
    """The operators of one call on padded sequences that end at their own lengths.

    Behind its end a sequence is held still: one more input feature is 1 there, and its weights
    drive the gates. What no gate holds (an LSTM's h, an RNN's) is taken from the output at each
    sequence's last step. The backward direction is a forward one on the sequences reversed within
    their lengths.
    """

    def __init__(self, node: ir.Node, tape: ir.tape.Tape) -> None:
        super().__init__(node, tape)
        self._ends = ends_of(tape, node)

    def _layer(
        self, x: ir.Value, states: Sequence[ir.Value], *weights: Array | None
    ) -> tuple[ir.Value, Sequence[ir.Value]]:
        outputs, finals = [], []
        for direction, initial in enumerate(self._by_direction(states)):
            own = [None if w is None else w[direction : direction + 1] for w in weights]
            way = self._ends.reversed(x) if direction else x
            y, after = self._direction(way, initial, own)
            outputs.append(self._ends.reversed(y) if direction else y)
            finals.append(after)
        merged = outputs[0] if len(outputs) == 1 else self._tape.op("Concat", outputs, {"axis": 2})
        return merged, [self._joined(states) for states in zip(*finals, strict=True)]

    def _direction(
        self, x: ir.Value, states: Sequence[ir.Value], weights: list[Array | None]
    ) -> tuple[ir.Value, Sequence[ir.Value]]:
        w = weights[0]
        assert w is not None
        if still := STILL.get(self._kind.operator):
            column = np.repeat(np.array(still, np.float32), len(w[0]) // len(still))
            weights[0] = np.concatenate([w, column[None, :, None]], axis=2)
            x = self._tape.op("Concat", [x, self._ends.behind_as_float()], {"axis": 2})
        y, *after = self._operator(x, states, weights, 1)
        y = self._tape.op("Squeeze", [y, self._ints([1])])
        held = self._kind.operator == "GRU"
        return y, [after[0] if held else self._ends.last(y), *after[1:]]

    def _by_direction(self, states: Sequence[ir.Value]) -> list[Sequence[ir.Value]]:
        if self._directions == 1:
            return [states]
        halves = [
            self._tape.op_multi_out(
                "Split", [state, self._ints([1, 1])], {"axis": 0}, num_outputs=2
            )
            for state in states
        ]
        return list(zip(*halves, strict=True))
