"""One step of LSTM, GRU and RNN in primitive operators.

The equations are those of the ONNX operators; `·` is a matrix product and `*` an elementwise one,
and the values carry the equations' names:

    LSTM(x, W, R, B, h, c) → y, h', c'   becomes   Gemm → Gemm → Split → Sigmoid, Tanh → Mul → Add

The products of x and h stay two, the first being the summand of the second: as fast as one over
both, and an embedding in front folds into the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of, replace_value
from edgernn.export.ir.operator_kinds import EDGERNN
from edgernn.export.ir.recurrent_operators import (
    PROJECTION,
    Input,
    RecurrentKind,
    activations_of,
    input_of,
    kind_of,
)

__all__ = ["lower_cell"]

Array = NDArray[Any]


@dataclass(frozen=True)
class _Cell:
    """The weights of one forward recurrent node, without the axis of directions.

    Attributes:
        kind: The kind of the cell, which gives the order of its gates.
        w: Input weights, (gates · hidden_size, input_size).
        r: Recurrent weights, (gates · hidden_size, state size).
        input_bias: (gates · hidden_size,).
        recurrent_bias: (gates · hidden_size,).
        p: The projection, (proj_size, hidden_size), or None.
        activation: The cell's own activation.
        linear_before_reset: Whether a GRU's reset gate acts after the recurrent product.
    """

    kind: RecurrentKind
    w: Array
    r: Array
    input_bias: Array
    recurrent_bias: Array
    p: Array | None
    activation: str
    linear_before_reset: bool

    @property
    def hidden_size(self) -> int:
        """The size of one gate."""
        return len(self.w) // len(self.kind.onnx_gates)


def _lstm(cell: _Cell, builder: NodeBuilder, x: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
    """Write an LSTM; ONNX has g last, so that one sigmoid serves the other gates.

    i, o, f = sigmoid(W·x + R·h + b);  g = tanh(W·x + R·h + b);  c' = f * c + i * g;
    h' = P·(o * tanh(c')), without P where there is no projection.
    """
    h, c = state
    size, (*sigmoids, candidate) = cell.hidden_size, cell.kind.onnx_gates
    x_gates = _gemm(builder, x, cell.w, "W", cell.input_bias + cell.recurrent_bias, "x_gates")
    gates = _gemm(builder, h, cell.r, "R", x_gates, "gates")
    names = [f"{''.join(sigmoids)}_sum", f"{candidate}_sum"]
    sums = _split(builder, gates, [len(sigmoids) * size, size], names)
    gate = _sigmoids(builder, sums[0], sigmoids, size)
    kept = builder.op("Mul", gate["f"], c, name="kept")
    new = builder.op("Tanh", sums[1], name=candidate)
    written = builder.op("Mul", gate["i"], new, name="written")
    c_next = builder.op("Add", kept, written, name="c")
    h_next = builder.op("Mul", gate["o"], builder.op("Tanh", c_next, name="c_tanh"), name="h")
    if cell.p is not None:
        h_next = builder.op("MatMul", h_next, builder.constant("P", cell.p.T), name="h_projected")
    return [h_next, c_next]


def _gru(cell: _Cell, builder: NodeBuilder, x: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
    """Write a GRU; ONNX has n last, so that one sigmoid serves the other gates.

    z, r = sigmoid(W·x + R·h + b);  h' = n + z * (h - n), which is (1 - z) * n + z * h, with
    n = tanh(W·x + bw + r * (R·h + br)) where the reset gate acts after the product, else
    n = tanh(W·x + R·(r * h) + b).
    """
    (h,) = state
    size, (*sigmoids, candidate) = cell.hidden_size, cell.kind.onnx_gates
    name, rows = "".join(sigmoids), len(sigmoids) * size
    late = cell.recurrent_bias * (np.arange(len(cell.w)) < rows)
    bias = cell.input_bias + (late if cell.linear_before_reset else cell.recurrent_bias)
    x_gates = _gemm(builder, x, cell.w, "W", bias, "x_gates")
    x_sums = _split(builder, x_gates, [rows, size], [f"x_{name}", f"x_{candidate}"])
    sums = _gemm(builder, h, cell.r[:rows], f"R_{name}", x_sums[0], "gates")
    gate = _sigmoids(builder, sums, sigmoids, size)
    if cell.linear_before_reset:
        h_n = _gemm(builder, h, cell.r[rows:], "R_n", cell.recurrent_bias[rows:], "h_n")
        h_n = builder.op("Mul", gate["r"], h_n, name="h_n_reset")
        n_sum = builder.op("Add", x_sums[1], h_n, name="n_sum")
    else:
        h_reset = builder.op("Mul", gate["r"], h, name="h_reset")
        n_sum = _gemm(builder, h_reset, cell.r[rows:], "R_n", x_sums[1], "n_sum")
    n = builder.op("Tanh", n_sum, name=candidate)
    kept = builder.op("Mul", gate["z"], builder.op("Sub", h, n, name="h_less_n"), name="kept")
    return [builder.op("Add", n, kept, name="h")]


def _rnn(cell: _Cell, builder: NodeBuilder, x: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
    """Write an RNN: h' = f(W·x + R·h + b), where f is tanh or relu."""
    (h,) = state
    x_sum = _gemm(builder, x, cell.w, "W", cell.input_bias + cell.recurrent_bias, "x_sum")
    h_sum = _gemm(builder, h, cell.r, "R", x_sum, "h_sum")
    return [builder.op(cell.activation, h_sum, name="h")]


def _sigmoids(
    builder: NodeBuilder, sums: ir.Value, gates: list[str], size: int
) -> dict[str, ir.Value]:
    values = builder.op("Sigmoid", sums, name="".join(gates))
    return dict(zip(gates, _split(builder, values, [size] * len(gates), gates), strict=True))


def _gemm(
    builder: NodeBuilder,
    value: ir.Value,
    weights: Array,
    name: str,
    summand: ir.Value | Array,
    out: str,
) -> ir.Value:
    """Return weights·value + summand, with the weights stored transposed: (inputs, outputs)."""
    if not isinstance(summand, ir.Value):
        summand = builder.constant(f"b_{name}", summand)
    return builder.op("Gemm", value, builder.constant(name, weights.T), summand, name=out)


def _split(
    builder: NodeBuilder, value: ir.Value, sizes: list[int], names: list[str]
) -> list[ir.Value]:
    split = builder.constant(f"{'_'.join(names)}_sizes", np.array(sizes, np.int64))
    return list(builder.op_multi_out("Split", value, split, names=names, axis=-1))


_EQUATIONS: Mapping[
    str, Callable[[_Cell, NodeBuilder, ir.Value, list[ir.Value]], list[ir.Value]]
] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
"""How one step of each operator is written."""

_NEUTRAL = {"layout": 0, "input_forget": 0, "direction": "forward"}
"""Attributes that may be there with this value only."""
_READ = {"hidden_size", "activations", "linear_before_reset"}


def lower_cell(node: ir.Node, name: str) -> None:
    """Replace a recurrent node that runs one step by primitive operators, in place.

    It is a forward LSTM, GRU or RNN whose input is (1, batch, input_size). The names of the new
    nodes, values and weights begin with `name`.

    Raises:
        UnsupportedModelError: The node has an input or attribute that no equation here takes, or
            weights that the graph computes.
    """
    cell = _read(node)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    builder = NodeBuilder(graph, node, f"{name}_")
    first, both = (builder.constant("axes", np.array(axes, np.int64)) for axes in ([0], [0, 1]))
    x = builder.op("Squeeze", _given(node, Input.X), first, name="x")
    state = [
        builder.op("Squeeze", _given(node, place), first, name=f"{letter}_before")
        for place, letter in zip(cell.kind.initial_states, cell.kind.states, strict=True)
    ]
    after = _EQUATIONS[node.op_type](cell, builder, x, state)
    new = [builder.op("Unsqueeze", after[0], both, name="y")]
    new += [
        builder.op("Unsqueeze", value, first, name=f"{letter}_after")
        for value, letter in zip(after, cell.kind.states, strict=True)
    ]
    for old, value in zip(node.outputs, new, strict=False):
        old.name = old.name or value.name
        replace_value(old, value)
    graph.remove(node, safe=True)


def _read(node: ir.Node) -> _Cell:
    projected = node.domain == EDGERNN
    activation = _check(node, projected)
    w, r = _weights(node, Input.W), _weights(node, Input.R)
    no_bias = input_of(node, Input.B) is None
    bias = np.zeros(2 * len(w), w.dtype) if no_bias else _weights(node, Input.B)
    return _Cell(
        kind=kind_of(node),
        w=w,
        r=r,
        input_bias=bias[: len(w)],
        recurrent_bias=bias[len(w) :],
        p=_weights(node, PROJECTION) if projected else None,
        activation=activation,
        linear_before_reset=bool(node.attributes.get_int("linear_before_reset", 0)),
    )


def _check(node: ir.Node, projected: bool) -> str:
    """Return the cell's own activation, or refuse by name what its equations do not take."""
    known = activations_of(node.op_type)
    activations = known[0]
    for name, attr in node.attributes.items():
        if name == "activations":
            activations = tuple(attr.as_strings())
        elif name not in _READ and attr.value != _NEUTRAL.get(name):
            raise _refusal(node, f"`{name}={attr.value}`")
    if activations not in known:
        raise _refusal(node, f"the activations {', '.join(activations)}")
    read = {Input.X, Input.W, Input.R, Input.B, *kind_of(node).initial_states}
    read |= {PROJECTION} if projected else set()
    for place, value in enumerate(node.inputs):
        if value is not None and place not in read:
            raise _refusal(node, f"the input `{Input(place).name.lower()}`")
    return activations[-1]


def _refusal(node: ir.Node, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"`{node.name}` ({node.op_type}) has {what}, for which there is no form in primitive "
        "operators. Export the sequence graph alone."
    )


def _given(node: ir.Node, place: int) -> ir.Value:
    value = input_of(node, place)
    if value is None:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has no initial state as its input {place}, so that "
            "no state can be carried from step to step. Make its states graph inputs first."
        )
    return value


def _weights(node: ir.Node, place: int) -> Array:
    array = constant_of(node.inputs[place])
    if array is None:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has weights that the graph computes (input {place}); "
            "constants were expected. Export the sequence graph alone."
        )
    return np.asarray(array[0])
