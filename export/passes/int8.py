"""Weights in int8, and integer products that give the same on every CPU.

x → MatMul(W float32)    becomes    x → QuantizeLinear → MatMulInteger(W int8) → Cast → Mul → Mul
x → LSTM(W float32)      becomes    x → LSTM(DequantizeLinear(W int8))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.recurrent_operators import KINDS, OPERATORS, Input, is_recurrent
from edgernn.export.passes.port_values import replace_node

__all__ = ["PAIR_LIMIT", "max_pair_sums", "quantize_full_range", "quantize_pair_bounded", "to_int8"]

_LARGEST = 127
"""The largest integer of a weight."""

PAIR_LIMIT = 128
"""The largest sum of two neighbouring weights of one sign.

x86 CPUs without VNNI multiply unsigned by signed bytes with PMADDUBSW, which adds the products of
two neighbours along the summed axis in 16 bits, with saturation: a₀·w₀ + a₁·w₁ has to be within
-32,768 … 32,767. It is linear in a₀ and a₁, each 0 … 255, so its extremes are 255 times the sum of
the positive and of the negative weights of the pair:

    -32,768 ≤ -255 · 128 = -32,640 ≤ a₀·w₀ + a₁·w₁ ≤ 255 · 128 = 32,640 ≤ 32,767

A limit of 129 would already be too much: 255 · 129 = 32,895. Two weights of different signs are
within the limit as they are, at most 127 each. ONNX Runtime and oneDNN pair the places 2k and
2k + 1; what adds up more products of a row does so in 32 bits. CPUs that multiply otherwise (VNNI,
NEON, WebAssembly) have no narrower sum: two signed bytes give at most 2 · 128 · 127 = 32,512.
"""

_RECURRENT_WEIGHTS = (Input.W, Input.R)
_WEIGHT_INPUTS = {
    **dict.fromkeys(("Einsum", "Gemm", "MatMul"), (0, 1)),
    **dict.fromkeys(("Conv", "ConvTranspose"), (1,)),
    **dict.fromkeys(OPERATORS, _RECURRENT_WEIGHTS),
    "Gather": (0,),
}
"""Operators that read weights of two or more axes, and the inputs that are those weights."""
_STILL = sorted({number for kind in KINDS for number in kind.still_numbers})

_ZERO_POINT = 128
"""Of activations, which are 1 … 255: at most `_LARGEST` from it, as weights are from 0."""
_LEAST_DIVISOR = np.float32(1e-30)
"""The divisor of a row of zeros."""
_MOST_INPUTS = 1 << 16
"""The most inputs of a product whose sums fit into 32 bits: 255 · 127 · 2¹⁶ < 2³¹."""


def to_int8(models: Sequence[ir.Model]) -> tuple[str, ...]:
    """Write the weights of products and recurrent operators as int8, in place.

    Every output of a product, and every row of W and R, has a scale of its own; the zero point of
    weights is 0.

    1. A product with constant weights (MatMul, Gemm) is computed in integers. Its input has one
       scale per row, so that no sequence and no step depends on others of the same call. Its
       weights are bounded so that no CPU saturates.
    2. LSTM, GRU and RNN have no integer form in ONNX: they read int8 weights through
       DequantizeLinear and compute in float32.

    Tables, kernels of convolutions, biases and everything else stay float32.

    Returns:
        The weights that stay float32, each with the operator that reads it.
    """
    for model in models:
        products = _IntegerProducts()
        for node in list(model.graph.all_nodes()):
            if is_recurrent(node):
                for place in _RECURRENT_WEIGHTS:
                    _dequantize(node, place)
            elif node.op_type in ("MatMul", "Gemm") and not node.domain:
                products.rewrite(node)
    return tuple(dict.fromkeys(name for model in models for name in _float32_weights(model)))


def _float32_weights(model: ir.Model) -> Iterator[str]:
    """Yield the float32 matrices that operators read as weights, each with its operator."""
    for node in model.graph.all_nodes():
        for place in _WEIGHT_INPUTS.get(node.op_type, ()):
            value = node.inputs[place]
            weights = constant_of(value)
            if value is not None and weights is not None and weights.ndim > 1:
                yield f"`{value.name}` ({node.op_type})"


def _dequantize(node: ir.Node, place: Input) -> None:
    """Store W (D, gates·H, I) or R (D, gates·H, H) in int8, with a scale for each row.

    The last column of W may keep a state unchanged after the end of its sequence. Its numbers are
    far larger than weights and stay float32: with them, the others of a row would be rounded to 0.
    """
    weights = constant_of(node.inputs[place])
    graph = node.graph
    if weights is None or not isinstance(graph, ir.Graph):
        return
    still = weights[..., -1:]
    has_still_column = bool(np.isin(still, _STILL).all() and still.any())
    if has_still_column:
        weights = weights[..., :-1]
    numbers, scale = quantize_full_range(weights, (0, 2))
    builder = NodeBuilder(graph, node, f"{node.name}_{place.name}_")
    given = (
        builder.constant("int8", numbers),
        builder.constant("scale", scale),
        builder.constant("zero", np.zeros(scale.shape, np.int8)),
    )
    value = builder.op("DequantizeLinear", *given, name="float32", axis=1)
    if has_still_column:
        value = builder.op("Concat", value, builder.constant("still", still), name="held", axis=2)
        weights = np.concatenate([weights, still], axis=2)
    value.shape, value.type = ir.Shape(weights.shape), ir.TensorType(ir.DataType.FLOAT)
    node.replace_input_with(place, value)


class _IntegerProducts:
    """Replaces the products of one model; an input that several of them read is quantized once."""

    def __init__(self) -> None:
        self._inputs: dict[tuple[ir.Graph, ir.Value], tuple[ir.Value, ir.Value]] = {}

    def rewrite(self, node: ir.Node) -> None:
        """Compute x · W + b as q(x) · q(W) · scale(W) · scale(x) + b, in place."""
        graph, (x, w, *bias) = node.graph, node.inputs
        weights = constant_of(w)
        is_scaled = any(node.attributes.get_float(name, 1.0) != 1 for name in ("alpha", "beta"))
        if is_scaled or node.attributes.get_int("transA", 0) != 0 or x is None:
            return
        if weights is None or weights.ndim != 2 or weights.dtype != np.float32:
            return
        assert isinstance(graph, ir.Graph)
        if node.attributes.get_int("transB", 0):
            weights = weights.T
        if not 0 < len(weights) <= _MOST_INPUTS or not np.isfinite(weights).all():
            return
        numbers, scale = quantize_pair_bounded(weights)
        integers, largest = self._quantized(graph, node, x)
        (old,) = node.outputs
        builder = NodeBuilder(graph, node, f"{old.name}_")
        zero = builder.constant("zero", np.array(_ZERO_POINT, np.uint8))
        w_integers = builder.constant("W", numbers)
        w_scale = builder.constant("scale", scale / np.float32(_LARGEST))
        product = builder.op("MatMulInteger", integers, w_integers, zero, name="integers")
        product = builder.op("Cast", product, name="wide", to=ir.DataType.FLOAT)
        product = builder.op("Mul", product, w_scale, name="scaled")
        product = builder.op("Mul", product, largest, name="product")
        if bias and bias[0] is not None:
            product = builder.op("Add", product, bias[0], name="sum")
        replace_node(node, product)

    def _quantized(self, graph: ir.Graph, node: ir.Node, x: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return x (…, inputs) as integers 1 … 255 with the zero point 128, and 127 scales of it.

        127 scales are the largest magnitude of each row, (…, 1) float32. The zero point is a
        constant because ONNX Runtime takes only one for all rows. The mean is never above the
        largest magnitude; it passes on a NaN, which ONNX Runtime's ReduceMax drops.
        """
        if (graph, x) not in self._inputs:
            builder = NodeBuilder(graph, node, f"{x.name}_")
            last = builder.constant("axis", np.array([-1], np.int64))
            sizes = builder.op("Abs", x, name="sizes")
            largest, mean = (
                builder.op(reduce, sizes, last, name=name, keepdims=1)
                for reduce, name in (("ReduceMax", "largest"), ("ReduceMean", "mean"))
            )
            least = builder.constant("least", np.array(_LEAST_DIVISOR))
            largest = builder.op("Max", largest, mean, least, name="size")
            step = builder.constant("step", np.array(1 / _LARGEST, np.float32))
            zero = builder.constant("zero", np.array(_ZERO_POINT, np.uint8))
            units = builder.op("Div", x, largest, name="units")
            self._inputs[graph, x] = (
                builder.op("QuantizeLinear", units, step, zero, name="q"),
                largest,
            )
        return self._inputs[graph, x]


def quantize_full_range(
    weights: NDArray[np.float32], over: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers up to 127, and one scale for all weights along the axes `over`."""
    largest = np.abs(weights).max(axis=over, keepdims=True)
    scale = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale.squeeze(over)


def quantize_pair_bounded(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights (inputs, outputs) as integers, and the scale of each output, (outputs,).

    The scale is the smallest at which no weight is above 127 and the sums of neighbours along the
    inputs, 2k and 2k + 1, are at most `PAIR_LIMIT`. It is at most that of 7 bits, twice the largest
    weight by 128, and smaller where the largest weights are not neighbours.
    """
    wide = weights.astype(np.float64)
    needed = np.maximum(max_pair_sums(wide) / PAIR_LIMIT, np.abs(wide).max(0) / _LARGEST)
    # The next larger float32: the sums of pairs are below the limit, and within it when rounded.
    scale = np.nextafter(needed.astype(np.float32), np.float32(np.inf))
    scale = np.where(needed > 0, scale, np.float32(1)).astype(np.float32)
    return np.rint(weights / scale.astype(np.float64)).astype(np.int8), scale


def max_pair_sums(weights: NDArray[Any]) -> NDArray[Any]:
    """Return the largest sum of two neighbours of one sign for each output, (outputs,).

    Args:
        weights: (inputs, outputs), int8 or of a dtype that holds the sums.
    """
    wide = weights.astype(np.int64) if weights.dtype == np.int8 else weights
    if len(wide) % 2:
        wide = np.concatenate([wide, np.zeros_like(wide[:1])])
    pairs = wide.reshape(-1, 2, wide.shape[1])
    sums = np.maximum(np.maximum(pairs, 0).sum(1), np.maximum(-pairs, 0).sum(1))
    return np.asarray(sums.max(0, initial=0))
