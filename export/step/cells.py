"""One step of LSTM, GRU and RNN in primitive operators.

Equations and gate orders are those of the ONNX operators. In the equations `·` is a matrix product
and `*` an elementwise one; the wires carry the equations' names. The products of x and h stay two,
the first being the summand of the second: as fast as one over both, and an embedding in front
folds into the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.node_builder import NodeBuilder, constant_of

__all__ = ["lower_cell", "recurrent_nodes"]

Array = NDArray[Any]


@dataclass(frozen=True)
class _Cell:
    """The weights of one forward recurrent node, without the axis of directions.

    Attributes:
        w: Input weights, (gates · hidden_size, input_size).
        r: Recurrent weights, (gates · hidden_size, state size).
        input_bias: (gates · hidden_size,).
        recurrent_bias: (gates · hidden_size,).
        p: The projection, (proj_size, hidden_size), or None.
        activation: The cell's own activation.
        linear_before_reset: Whether a GRU's reset gate acts behind the recurrent product.
    """

    w: Array
    r: Array
    input_bias: Array
    recurrent_bias: Array
    p: Array | None
    activation: str
    linear_before_reset: bool


_Form = Callable[[_Cell, NodeBuilder, ir.Value, list[ir.Value]], list[ir.Value]]


def _lstm(cell: _Cell, builder: NodeBuilder, x: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
    """Gates in the order i o f g, so that one sigmoid serves the first three.

    i, o, f = sigmoid(W·x + R·h + b);  g = tanh(W·x + R·h + b);  c' = f * c + i * g;
    h' = P·(o * tanh(c')), without P where there is no projection.
    """
    h, c = state
    hidden_size = len(cell.w) // 4
    x_gates = _gemm(builder, x, cell.w, "W", cell.input_bias + cell.recurrent_bias, "x_gates")
    gates = _gemm(builder, h, cell.r, "R", x_gates, "gates")
    iof, g = _split(builder, gates, [3 * hidden_size, hidden_size], ["iof_sum", "g_sum"])
    i, o, f = _split(
        builder, builder.op("Sigmoid", iof, name="iof"), [hidden_size] * 3, ["i", "o", "f"]
    )
    kept = builder.op("Mul", f, c, name="kept")
    written = builder.op("Mul", i, builder.op("Tanh", g, name="g"), name="written")
    c_next = builder.op("Add", kept, written, name="c")
    h_next = builder.op("Mul", o, builder.op("Tanh", c_next, name="c_tanh"), name="h")
    if cell.p is not None:
        h_next = builder.op("MatMul", h_next, builder.constant("P", cell.p.T), name="h_projected")
    return [h_next, c_next]


def _gru(cell: _Cell, builder: NodeBuilder, x: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
    """Gates in the order z r n, so that one sigmoid serves the first two.

    z, r = sigmoid(W·x + R·h + b);  h' = n + z * (h - n), which is (1 - z) * n + z * h, with
    n = tanh(W·x + bw + r * (R·h + br)) where the reset gate acts behind the product, else
    n = tanh(W·x + R·(r * h) + b).
    """
    (h,) = state
    hidden_size = len(cell.w) // 3
    gates = 2 * hidden_size
    late = cell.recurrent_bias * (np.arange(3 * hidden_size) < gates)
    bias = cell.input_bias + (late if cell.linear_before_reset else cell.recurrent_bias)
    x_gates = _gemm(builder, x, cell.w, "W", bias, "x_gates")
    x_zr, x_n = _split(builder, x_gates, [gates, hidden_size], ["x_zr", "x_n"])
    zr = builder.op("Sigmoid", _gemm(builder, h, cell.r[:gates], "R_zr", x_zr, "gates"), name="zr")
    z, r = _split(builder, zr, [hidden_size] * 2, ["z", "r"])
    if cell.linear_before_reset:
        h_n = _gemm(builder, h, cell.r[gates:], "R_n", cell.recurrent_bias[gates:], "h_n")
        n_sum = builder.op("Add", x_n, builder.op("Mul", r, h_n, name="h_n_reset"), name="n_sum")
    else:
        h_reset = builder.op("Mul", r, h, name="h_reset")
        n_sum = _gemm(builder, h_reset, cell.r[gates:], "R_n", x_n, "n_sum")
    n = builder.op("Tanh", n_sum, name="n")
    kept = builder.op("Mul", z, builder.op("Sub", h, n, name="h_less_n"), name="kept")
    return [builder.op("Add", n, kept, name="h")]


def _rnn(cell: _Cell, builder: NodeBuilder, x: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
    """No gates: h' = f(W·x + R·h + b), where f is tanh or relu."""
    (h,) = state
    x_sum = _gemm(builder, x, cell.w, "W", cell.input_bias + cell.recurrent_bias, "x_sum")
    h_sum = _gemm(builder, h, cell.r, "R", x_sum, "h_sum")
    return [builder.op(cell.activation, h_sum, name="h")]


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


@dataclass(frozen=True)
class _Kind:
    """How one operator is read: its inputs by role, what it may say, and its form."""

    states: tuple[int, ...]
    projection: int | None
    activations: tuple[tuple[str, ...], ...]
    form: _Form


_KINDS = {
    ("", "LSTM"): _Kind((5, 6), None, (("Sigmoid", "Tanh", "Tanh"),), _lstm),
    ("", "GRU"): _Kind((5,), None, (("Sigmoid", "Tanh"),), _gru),
    ("", "RNN"): _Kind((5,), None, (("Tanh",), ("Relu",)), _rnn),
    ("edgernn", "LSTM"): _Kind((5, 6), 4, (("Sigmoid", "Tanh", "Tanh"),), _lstm),
}

_NEUTRAL = {"layout": 0, "input_forget": 0, "direction": "forward"}
"""Attributes that may be there with this value only."""
_READ = {"hidden_size", "activations", "linear_before_reset"}


def recurrent_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Return the LSTM, GRU and RNN nodes of `graph` in its order."""
    return [node for node in graph if (node.domain, node.op_type) in _KINDS]


def lower_cell(node: ir.Node, name: str) -> None:
    """Put primitive operators in the place of a recurrent node that runs one step, in place.

    Args:
        node: A forward LSTM, GRU or RNN whose input is (1, batch, input_size).
        name: What the names of the new nodes, values and weights begin with.

    Raises:
        UnsupportedModelError: The node has an input or attribute that no form here takes, or
            weights that the graph computes.
    """
    kind = _KINDS[node.domain, node.op_type]
    cell = _read(node, kind)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    builder = NodeBuilder(graph, node, f"{name}_")
    first, both = (builder.constant("axes", np.array(axes, np.int64)) for axes in ([0], [0, 1]))
    x = builder.op("Squeeze", _given(node, 0), first, name="x")
    state = [
        builder.op("Squeeze", _given(node, index), first, name=f"{letter}_before")
        for index, letter in zip(kind.states, "hc", strict=False)
    ]
    after = kind.form(cell, builder, x, state)
    new = [builder.op("Unsqueeze", after[0], both, name="y")]
    new += [
        builder.op("Unsqueeze", value, first, name=f"{letter}_after")
        for value, letter in zip(after, "hc", strict=False)
    ]
    for old, value in zip(node.outputs, new, strict=False):
        value.name, old.name = old.name or value.name, None
        value.shape, value.type = old.shape, old.type
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _read(node: ir.Node, kind: _Kind) -> _Cell:
    activations = _check(node, kind)
    w, r = _weights(node, 1), _weights(node, 2)
    bias = _weights(node, 3) if _has(node, 3) else np.zeros(2 * len(w), w.dtype)
    return _Cell(
        w=w,
        r=r,
        input_bias=bias[: len(w)],
        recurrent_bias=bias[len(w) :],
        p=None if kind.projection is None else _weights(node, kind.projection),
        activation=activations[-1],
        linear_before_reset=bool(node.attributes.get_int("linear_before_reset", 0)),
    )


def _check(node: ir.Node, kind: _Kind) -> tuple[str, ...]:
    """Return the activations of `node`, or refuse what its form does not take, by name."""
    activations = kind.activations[0]
    for name, attr in node.attributes.items():
        if name == "activations":
            activations = tuple(attr.as_strings())
        elif name not in _READ and attr.value != _NEUTRAL.get(name):
            raise _refusal(node, f"`{name}={attr.value}`")
    if activations not in kind.activations:
        raise _refusal(node, f"the activations {', '.join(activations)}")
    read = {0, 1, 2, 3, *kind.states, kind.projection}
    extra = [index for index in range(len(node.inputs)) if _has(node, index) and index not in read]
    if extra:
        roles = {4: "sequence_lens", 7: "peepholes"}
        raise _refusal(node, f"the input `{roles.get(extra[0], extra[0])}`")
    return activations


def _refusal(node: ir.Node, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"`{node.name}` ({node.op_type}) has {what}, for which there is no form in primitive "
        "operators. Export the sequence graph alone."
    )


def _has(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def _given(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has no initial state as its input {index}, so that "
            "no state can be carried from step to step. Make its states graph inputs first."
        )
    return value


def _weights(node: ir.Node, index: int) -> Array:
    array = constant_of(node.inputs[index])
    if array is None:
        raise UnsupportedModelError(
            f"`{node.name}` ({node.op_type}) has weights that the graph computes (input {index}); "
            "constants were expected. Export the sequence graph alone."
        )
    return np.asarray(array[0])
