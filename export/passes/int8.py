"""Weights in int8, and products in integers that come out the same on every CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.analysis.saturation import PAIR_LIMIT, pair_sums
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.recurrent_operators import KINDS, OPERATORS, Input, is_recurrent

__all__ = ["to_int8"]

_WEIGHTS = (Input.W, Input.R)
_READS = {
    **dict.fromkeys(("Einsum", "Gemm", "MatMul"), (0, 1)),
    **dict.fromkeys(("Conv", "ConvTranspose"), (1,)),
    **dict.fromkeys(OPERATORS, _WEIGHTS),
    "Gather": (0,),
}
"""Operators that weights of two and more axes go into, and at which inputs."""
_STILL = sorted({number for kind in KINDS for number in kind.still_numbers})

_LARGEST = 127
"""The largest integer; activations are as far from zero, which is 128: 1 … 255."""
_ZERO = 128
_SMALLEST = np.float32(1e-30)
"""What a row of zeros is divided by."""
_MOST_INPUTS = 1 << 16
"""Inputs of a product up to which 32 bits hold every sum: 255 · 127 · 2¹⁶ < 2³¹."""


def to_int8(models: Sequence[ir.Model]) -> tuple[str, ...]:
    """Write the weights of products and recurrent operators as int8, in place.

    Every output of a product, and every row of W and R, has its own scale; zero is 0.

    1. A product with constant weights (MatMul, Gemm) is computed in integers. Its input gets one
       scale per row, so that no sequence and no step depends on the others of its call; its weights
       are bounded so that no CPU saturates.
    2. LSTM, GRU and RNN have no such form in ONNX: they read their int8 weights through
       DequantizeLinear and compute in float32.

    Tables, kernels of convolutions, biases and everything else stay float32.

    Args:
        models: The graphs of one model.

    Returns:
        The weights that stay float32, each with the operator that reads it.
    """
    for model in models:
        products = _Products()
        for node in list(model.graph.all_nodes()):
            if is_recurrent(node):
                for place in _WEIGHTS:
                    _dequantize(node, place)
            elif node.op_type in ("MatMul", "Gemm") and not node.domain:
                products.rewrite(node)
    return tuple(dict.fromkeys(name for model in models for name in _float32_weights(model)))


def _float32_weights(model: ir.Model) -> Iterator[str]:
    """Yield the float32 matrices that products, tables and recurrent operators read."""
    for node in model.graph.all_nodes():
        for place in _READS.get(node.op_type, ()):
            value = node.inputs[place]
            weights = constant_of(value)
            if value is not None and weights is not None and weights.ndim > 1:
                yield f"`{value.name}` ({node.op_type})"


def _dequantize(node: ir.Node, place: Input) -> None:
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
    numbers, scale = _full_range(weights, (0, 2))
    builder = NodeBuilder(graph, node, f"{node.name}_{place.name}_")
    given = (
        builder.constant("int8", numbers),
        builder.constant("scale", scale),
        builder.constant("zero", np.zeros(scale.shape, np.int8)),
    )
    value = builder.op("DequantizeLinear", *given, name="float32", axis=1)
    if held:
        value = builder.op("Concat", value, builder.constant("still", still), name="held", axis=2)
        weights = np.concatenate([weights, still], axis=2)
    value.shape, value.type = ir.Shape(weights.shape), ir.TensorType(ir.DataType.FLOAT)
    node.replace_input_with(place, value)


def _full_range(
    weights: NDArray[np.float32], over: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers up to 127 and the scale for each place that is not in the axes `over`."""
    largest = np.abs(weights).max(axis=over, keepdims=True)
    scale = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale.squeeze(over)


class _Products:
    """Writes the products of one model in integers; what several of them read is quantized once."""

    def __init__(self) -> None:
        self._inputs: dict[tuple[ir.Graph, ir.Value], tuple[ir.Value, ir.Value]] = {}

    def rewrite(self, node: ir.Node) -> None:
        """Compute x · W + b in integers: q(x) · q(W) · scale(W) · scale(x) + b, in place."""
        graph, (x, w, *bias) = node.graph, node.inputs
        weights = constant_of(w)
        plain = all(node.attributes.get_float(name, 1.0) == 1 for name in ("alpha", "beta"))
        plain = plain and not node.attributes.get_int("transA", 0)
        if weights is None or weights.ndim != 2 or not plain or x is None:
            return
        if weights.dtype != np.float32:
            return
        assert isinstance(graph, ir.Graph)
        if node.attributes.get_int("transB", 0):
            weights = weights.T
        if not 0 < len(weights) <= _MOST_INPUTS or not np.isfinite(weights).all():
            return
        numbers, scale = _pair_bounded(weights)
        integers, largest = self._quantized(graph, node, x)
        (old,) = node.outputs
        builder = NodeBuilder(graph, node, f"{old.name}_")
        zero = builder.constant("zero", np.array(_ZERO, np.uint8))
        w_integers = builder.constant("W", numbers)
        w_scale = builder.constant("scale", scale / np.float32(_LARGEST))
        product = builder.op("MatMulInteger", integers, w_integers, zero, name="integers")
        product = builder.op("Cast", product, name="wide", to=ir.DataType.FLOAT)
        product = builder.op("Mul", product, w_scale, name="scaled")
        product = builder.op("Mul", product, largest, name="product")
        if bias and bias[0] is not None:
            product = builder.op("Add", product, bias[0], name="sum")
        product.shape, product.type = old.shape, old.type
        ir.convenience.replace_all_uses_with(old, product, replace_graph_outputs=True)
        if product.is_graph_output():
            product.name, old.name = old.name, product.name
        graph.remove(node, safe=True)

    def _quantized(self, graph: ir.Graph, node: ir.Node, x: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return the integers of x (…, inputs), 1 … 255 zero at 128, and what is 127 steps.

        That is the largest magnitude of each row, (…, 1). The zero point is a constant, as ONNX
        Runtime takes one for all rows only. The mean is never above the largest and brings a NaN
        along, which ONNX Runtime's ReduceMax drops.
        """
        if (graph, x) not in self._inputs:
            builder = NodeBuilder(graph, node, f"{x.name}_")
            last = builder.constant("axis", np.array([-1], np.int64))
            sizes = builder.op("Abs", x, name="sizes")
            largest, mean = (
                builder.op(reduce, sizes, last, name=name, keepdims=1)
                for reduce, name in (("ReduceMax", "largest"), ("ReduceMean", "mean"))
            )
            least = builder.constant("least", np.array(_SMALLEST))
            largest = builder.op("Max", largest, mean, least, name="size")
            step = builder.constant("step", np.array(1 / _LARGEST, np.float32))
            zero = builder.constant("zero", np.array(_ZERO, np.uint8))
            units = builder.op("Div", x, largest, name="units")
            self._inputs[graph, x] = (
                builder.op("QuantizeLinear", units, step, zero, name="q"),
                largest,
            )
        return self._inputs[graph, x]


def _pair_bounded(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights (inputs, outputs) as integers, and the scale of each output, (outputs,).

    The scale is the smallest at which no weight is beyond 127 and no two neighbours along the
    inputs, at 2k and 2k + 1, are beyond `PAIR_LIMIT`. It is never more than that of 7 bits, twice
    the largest weight by 128, and less where the largest weights are not neighbours.
    """
    wide = weights.astype(np.float64)
    needed = np.maximum(pair_sums(wide) / PAIR_LIMIT, np.abs(wide).max(0) / _LARGEST)
    # One float32 further, so that sums of a pair are below the limit and stay within it rounded.
    scale = np.nextafter(needed.astype(np.float32), np.float32(np.inf))
    scale = np.where(needed > 0, scale, np.float32(1)).astype(np.float32)
    return np.rint(weights / scale.astype(np.float64)).astype(np.int8), scale
