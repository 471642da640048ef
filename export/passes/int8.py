"""Weights in int8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.step.wiring import Wiring, constant_of
from edgernn.export.trace.ends import STILL

__all__ = ["to_int8"]

_RECURRENT = ("LSTM", "GRU", "RNN")
_WEIGHTS = {"W": 1, "R": 2}
_STILL = sorted({number for gates in STILL.values() for number in gates})


def to_int8(models: Sequence[ir.Model]) -> None:
    """Write the weights of products and recurrent operators as int8, in place.

    Every output of a product, and every row of W and R, has its own scale; zero is 0.

    1. A product with constant weights (MatMul, Gemm) is computed in whole numbers: its input is
       quantized as it comes, over all sequences of the batch at once.
    2. LSTM, GRU and RNN have no such form in ONNX: they read their int8 weights through
       DequantizeLinear and compute in float32.

    Tables, biases and everything else stay float32.

    Args:
        models: The graphs of one model.
    """
    for model in models:
        for node in list(model.graph.all_nodes()):
            if node.op_type in _RECURRENT and not node.domain:
                for name, place in _WEIGHTS.items():
                    _dequantize(node, place, name)
            elif node.op_type in ("MatMul", "Gemm") and not node.domain:
                _in_whole_numbers(node)


def _dequantize(node: ir.Node, place: int, name: str) -> None:
    """Read W (D, gates·H, I) or R (D, gates·H, H) from int8, a scale for each row.

    The last column of W that holds a state still behind the end of its sequence is far larger than
    weights are and stays float32: it would leave no digits for the rest of its row.
    """
    weights = constant_of(node.inputs[place])
    graph = node.graph
    if weights is None or not isinstance(graph, ir.Graph):
        return
    still = weights[..., -1:]
    held = bool(np.isin(still, _STILL).all() and still.any())
    if held:
        weights = weights[..., :-1]
    numbers, scale = _quantized(weights, (0, 2))
    wire = Wiring(graph, node, f"{node.name}_{name}_")
    given = (
        wire.constant("int8", numbers),
        wire.constant("scale", scale),
        wire.constant("zero", np.zeros(scale.shape, np.int8)),
    )
    value = wire.op("DequantizeLinear", *given, name="float32", axis=1)
    if held:
        value = wire.op("Concat", value, wire.constant("still", still), name="held", axis=2)
        weights = np.concatenate([weights, still], axis=2)
    value.shape, value.type = ir.Shape(weights.shape), ir.TensorType(ir.DataType.FLOAT)
    node.replace_input_with(place, value)


def _in_whole_numbers(node: ir.Node) -> None:
    """Compute x · W + b as (q(x) · q(W)) · scales + b."""
    graph, (x, w, *bias) = node.graph, node.inputs
    weights = constant_of(w)
    plain = all(node.attributes.get_float(name, 1.0) == 1 for name in ("alpha", "beta"))
    plain = plain and not node.attributes.get_int("transA", 0)
    if weights is None or weights.ndim != 2 or not plain or x is None:
        return
    assert isinstance(graph, ir.Graph)
    if node.attributes.get_int("transB", 0):
        weights = weights.T
    numbers, scale = _quantized(weights, (0,))
    (old,) = node.outputs
    wire = Wiring(graph, node, f"{old.name}_")
    integers, x_scale, x_zero = wire.split(
        "DynamicQuantizeLinear", x, names=("x", "x_scale", "x_zero")
    )
    product = wire.op(
        "MatMulInteger", integers, wire.constant("W", numbers), x_zero, name="integers"
    )
    product = wire.op("Cast", product, name="wide", to=ir.DataType.FLOAT)
    scales = wire.op("Mul", x_scale, wire.constant("W_scale", scale), name="scales")
    product = wire.op("Mul", product, scales, name="product")
    if bias and bias[0] is not None:
        product = wire.op("Add", product, bias[0], name="sum")
    product.shape, product.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, product, replace_graph_outputs=True)
    if product.is_graph_output():
        product.name, old.name = old.name, product.name
    graph.remove(node, safe=True)


def _quantized(
    weights: NDArray[np.float32], over: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 numbers and the scale for each place that is not in the axes `over`."""
    largest = np.abs(weights).max(axis=over, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale.squeeze(over)
