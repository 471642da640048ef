"""Products in integers: x · W + s as q(x) · q(W) · scales + s.

    x   one scale for each row       x / max|x| → QuantizeLinear → MatMulInteger → Cast → Mul → Mul
    x   within ±1                    x → QuantizeLinear → MatMulInteger → Cast → Mul

Products of the same x become one, whose outputs are split. The input of a small LSTM is rounded
twice, half an integer apart, and the integers of both products are added. That halves its rounding
error, which is the largest part of the error of an LSTM and adds up in c:

    x   (batch, inputs)  →  x - 1/4, x + 1/4  (2, batch, inputs)  →  …  →  ReduceSum  →  Cast  →  …
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import onnx_ir as ir

from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.shapes import shape_of
from edgernn.export.passes.port_values import replace_node
from edgernn.export.quantize.constant_products import ConstantProduct, weights_key
from edgernn.export.quantize.integer_rounding import (
    LARGEST,
    ZERO_POINT,
    quantize_pair_bounded,
    quantize_unsigned,
)

__all__ = ["MOST_INPUTS", "Int8Products"]

MOST_INPUTS = 1 << 15
"""The most inputs of a product whose sums fit into 32 bits: 255 · 255 · 2¹⁵ < 2³¹."""

_LEAST_DIVISOR = np.float32(1e-30)
"""The divisor of a row of zeros."""


class Int8Products:
    """Writes products of a model in integers.

    Args:
        is_unit: Whether a value fills ±1, and has a constant scale.
        recurrent: Keys of the weights that every step reads: those are signed bytes.
        fine: Keys of the weights whose data is rounded twice.
    """

    def __init__(
        self,
        is_unit: Callable[[ir.Value], bool],
        recurrent: Collection[bytes],
        fine: Collection[bytes] = (),
    ) -> None:
        self._is_unit = is_unit
        self._recurrent = recurrent
        self._fine = fine

    def kind_of(self, product: ConstantProduct) -> tuple[bool, bool]:
        """Return whether the weights are signed bytes, and whether the data is rounded twice."""
        key = weights_key(product.weights)
        return key in self._recurrent, key in self._fine

    def write(self, graph: ir.Graph, products: Sequence[ConstantProduct]) -> None:
        """Compute products of one input and kind in integers, in place, in the graph's order."""
        x, before = products[0].x, products[0].node
        builder = NodeBuilder(graph, before, f"{products[0].node.outputs[0].name}_")
        weights = np.concatenate([one.weights for one in products], axis=1)
        signed, fine = self.kind_of(products[0])
        numbers, scale = (quantize_pair_bounded if signed else quantize_unsigned)(weights)
        rank = 2 if before.op_type == "Gemm" else len(shape_of(x) or ())
        fine = fine and rank > 0
        integers, largest = self._quantized(builder, x, rank if fine else 0)
        zeros = [builder.constant("zero", np.array(ZERO_POINT, np.uint8))]
        if not signed:
            zeros.append(builder.constant("W_zero", np.array(ZERO_POINT, np.uint8)))
        value = builder.op(
            "MatMulInteger", integers, builder.constant("W", numbers), *zeros, name="integers"
        )
        if fine:
            first = builder.constant("first", np.array([0], np.int64))
            value = builder.op("ReduceSum", value, first, name="both", keepdims=0)
        value = builder.op("Cast", value, name="wide", to=ir.DataType.FLOAT)
        scales = builder.constant("scale", scale / np.float32(LARGEST * (2 if fine else 1)))
        value = builder.op("Mul", value, scales, name="scaled")
        if largest is not None:
            value = builder.op("Mul", value, largest, name="product")
        parts = [value]
        if len(products) > 1:
            sizes = [one.weights.shape[1] for one in products]
            split = builder.constant("sizes", np.array(sizes, np.int64))
            names = [f"part_{index}" for index in range(len(products))]
            parts = list(builder.op_multi_out("Split", value, split, names=names, axis=-1))
        for product, part in zip(products, parts, strict=True):
            if product.summand is not None:
                own = NodeBuilder(graph, product.node, f"{product.node.outputs[0].name}_")
                part = own.op("Add", part, product.summand, name="sum")
            replace_node(product.node, part)

    def _quantized(
        self, builder: NodeBuilder, x: ir.Value, fine_rank: int
    ) -> tuple[ir.Value, ir.Value | None]:
        """Return x (…, inputs) as integers 1 … 255, and the largest magnitude of each row.

        They are (2, …, inputs) where `fine_rank`, the number of x's axes, is not 0.

        The magnitudes are (…, 1) float32, and None where x is within ±1. The zero point is a
        constant because ONNX Runtime takes only one for all rows. The mean is never above the
        largest magnitude; it passes on a NaN, which ONNX Runtime's ReduceMax drops.
        """
        step = builder.constant("step", np.array(1 / LARGEST, np.float32))
        zero = builder.constant("x_zero", np.array(ZERO_POINT, np.uint8))
        largest = None
        if not self._is_unit(x):
            last = builder.constant("axis", np.array([-1], np.int64))
            sizes = builder.op("Abs", x, name="sizes")
            largest, mean = (
                builder.op(reduce, sizes, last, name=name, keepdims=1)
                for reduce, name in (("ReduceMax", "largest"), ("ReduceMean", "mean"))
            )
            least = builder.constant("least", np.array(_LEAST_DIVISOR))
            largest = builder.op("Max", largest, mean, least, name="size")
            x = builder.op("Div", x, largest, name="units")
        if fine_rank:
            quarters = np.array([-0.25, 0.25], np.float32) / np.float32(LARGEST)
            shaped = quarters.reshape(2, *[1] * fine_rank)
            x = builder.op("Add", x, builder.constant("quarters", shaped), name="two")
        return builder.op("QuantizeLinear", x, step, zero, name="q"), largest
