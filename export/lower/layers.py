"""From torch's recurrent calls to ONNX's LSTM, GRU and RNN operators.

`trace` leaves one node of domain `torch` per call; `lower` writes one operator per layer in its
place, with the weights as initializers in ONNX's order:

    torch::lstm(x, h, c, w_ih, w_hh, …) of two layers  →  LSTM → Squeeze → LSTM → Squeeze

An LSTM with projection has no ONNX operator: it becomes `edgernn::LSTM`, which is the operator with
a projection as one more input, and which `lower/projection` and `step/cells` write out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.call_nodes import call_nodes, is_cell, kind_of_call, weights_of
from edgernn.export.ir.operator_kinds import EDGERNN, LOOP, PAD, TORCH
from edgernn.export.ir.recurrent_operators import TORCH_WEIGHTS
from edgernn.export.lower.sequence_mask import (
    SequenceEnds,
    fill_padding,
    sequence_ends,
    split_directions,
)

__all__ = ["lower"]

Array = NDArray[np.float32]


def lower(model: ir.Model, lengths: bool = True) -> None:
    """Write every recurrent call as ONNX operators, and leave the loops; in place.

    With `lengths`, packed sequences end at their lengths; else every step counts.

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
    if not call_nodes(model.graph):
        model.opset_imports.pop(TORCH, None)
    if any(node.domain == EDGERNN for node in model.graph):
        model.opset_imports[EDGERNN] = 1


def _results(node: ir.Node, tape: ir.tape.Tape, lengths: bool) -> list[ir.Value]:
    if node.op_type == PAD:
        y = node.inputs[0]
        assert y is not None
        return [fill_padding(tape, node) if lengths else y]
    packed = lengths and node.attributes["packed"].as_int()
    return (_PackedLayers if packed else _Layers)(node, tape).results()


class _Layers:
    """The operators of one call."""

    def __init__(self, node: ir.Node, tape: ir.tape.Tape) -> None:
        self._node = node
        self._tape = tape
        self._kind = kind_of_call(node)
        self._cell = is_cell(node)
        self._directions = 2 if node.attributes["bidirectional"].as_int() else 1
        self._num_layers = node.attributes["num_layers"].as_int()
        self._bias = bool(node.attributes["bias"].as_int())
        self._path = node.metadata_props.get("layer", node.op_type)
        self._count = 0
        self._states = node.inputs[1 : 1 + len(self._kind.states)]
        self._weights = [self._array(value) for value in weights_of(node)]

    def results(self) -> list[ir.Value]:
        """Emit the operators; return the values that replace the call's outputs."""
        op = self._tape.op
        x = self._node.inputs[0]
        assert x is not None
        states = [self._per_layer(state) for state in self._states]
        batch_first = self._node.attributes["batch_first"].as_int()
        if self._cell:
            x = op("Unsqueeze", [x, self._ints([0])])
        elif batch_first:
            x = op("Transpose", [x], {"perm": [1, 0, 2]})
        finals: list[Sequence[ir.Value]] = []
        for layer in range(self._num_layers):
            x, after = self._layer(x, [s[layer] for s in states], self._onnx_weights(layer))
            finals.append(after)
        if self._cell:
            return [op("Squeeze", [final, self._ints([0])]) for final in finals[0]]
        if batch_first:
            x = op("Transpose", [x], {"perm": [1, 0, 2]})
        return [x, *(self._joined(layers) for layers in zip(*finals, strict=True))]

    def _layer(
        self, x: ir.Value, states: Sequence[ir.Value], weights: Sequence[Array | None]
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
        """Emit the operator of one layer with weights W, R, B and P; return Y and its states."""
        _, r, _, p = weights
        assert r is not None
        name = f"{self._path}_l{self._count}"
        constants = [
            None if array is None else self._constant(array, f"{name}_{letter}")
            for letter, array in zip("WRBP", weights, strict=True)
        ]
        attributes: dict[str, Any] = {
            **self._kind.torch_attributes(directions),
            "hidden_size": r.shape[1] // len(self._kind.onnx_gates),
            "direction": "forward" if directions == 1 else "bidirectional",
        }
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
        names = [name for name in TORCH_WEIGHTS if self._bias or not name.startswith("b_")]
        each = len(self._weights) // (self._directions * self._num_layers)
        w, r, b, p = [], [], [], []
        for direction in range(self._directions):
            first = (layer * self._directions + direction) * each
            arrays = dict(zip(names, self._weights[first : first + each], strict=False))
            zeros = np.zeros(len(arrays["w_ih"]), np.float32)
            biases = [arrays.get(name, zeros) for name in ("b_ih", "b_hh")]
            w.append(self._kind.to_onnx_order(arrays["w_ih"]))
            r.append(self._kind.to_onnx_order(arrays["w_hh"]))
            b.append(np.concatenate([self._kind.to_onnx_order(bias) for bias in biases]))
            p += [arrays["w_hr"]] if "w_hr" in arrays else []
        return np.stack(w), np.stack(r), np.stack(b), np.stack(p) if p else None

    def _per_layer(self, state: ir.Value | None) -> Sequence[ir.Value]:
        """Return the initial state of each layer, (D, batch, size) each."""
        assert state is not None
        if self._cell:
            return [self._tape.op("Unsqueeze", [state, self._ints([0])])]
        if self._num_layers == 1:
            return [state]
        sizes, count = self._ints([self._directions] * self._num_layers), self._num_layers
        return self._tape.op_multi_out("Split", [state, sizes], {"axis": 0}, num_outputs=count)

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
    """The operators of one call on padded sequences that end at their own lengths."""

    def __init__(self, node: ir.Node, tape: ir.tape.Tape) -> None:
        super().__init__(node, tape)
        self._ends: SequenceEnds = sequence_ends(tape, node)

    def _layer(
        self, x: ir.Value, states: Sequence[ir.Value], weights: Sequence[Array | None]
    ) -> tuple[ir.Value, Sequence[ir.Value]]:
        outputs, finals = [], []
        parts = split_directions(self._tape, states, self._directions, lambda: self._ints([1, 1]))
        for direction, initial in enumerate(parts):
            w, *others = [None if w is None else w[direction : direction + 1] for w in weights]
            assert w is not None
            run = partial(self._run, initial, others)
            y, *after = self._ends.run_direction(self._kind, x, w, run, backward=direction == 1)
            outputs.append(y)
            finals.append(after)
        merged = outputs[0] if len(outputs) == 1 else self._tape.op("Concat", outputs, {"axis": 2})
        return merged, [self._joined(states) for states in zip(*finals, strict=True)]

    def _run(
        self, states: Sequence[ir.Value], weights: Sequence[Array | None], x: ir.Value, w: Array
    ) -> Sequence[ir.Value]:
        y, *after = self._operator(x, states, [w, *weights], 1)
        return [self._tape.op("Squeeze", [y, self._ints([1])]), *after]
