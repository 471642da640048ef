"""Nodes that read weights in blocks: ONNX Runtime's own, and standard ones that make floats."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.quantize.block_weights import BlockWeights

__all__ = ["look_up", "multiply", "unpack"]

_DOMAIN = "com.microsoft"

_ACCURACY_LEVEL = 4
"""Rows of x are rounded to int8 in the same blocks: up to 3 times as fast as products in float32,
from 128 inputs on, for an error that is small beside that of the weights (0.6 % against 5 %)."""


def multiply(
    builder: NodeBuilder, x: ir.Value, weights: BlockWeights, bias: NDArray[np.float32], name: str
) -> ir.Value:
    """Return x · weightsᵀ + bias.

    Args:
        builder: Where to put the node.
        x: (…, inputs).
        weights: (outputs, inputs).
        bias: (outputs,).
        name: The name of the product.
    """
    outputs, inputs = weights.integers.shape
    return builder.op(
        "MatMulNBits",
        x,
        builder.constant("int4" if weights.format.bits == 4 else "int8", weights.packed),
        builder.constant("scales", weights.scales),
        builder.constant("zeros", weights.packed_zeros),
        None,
        builder.constant("bias", bias),
        name=name,
        domain=_DOMAIN,
        K=inputs,
        N=outputs,
        bits=weights.format.bits,
        block_size=weights.format.block,
        accuracy_level=_ACCURACY_LEVEL,
    )


def look_up(builder: NodeBuilder, ids: ir.Value, table: BlockWeights, name: str) -> ir.Value:
    """Return rows of a table of 8 bits, (entries, features)."""
    return builder.op(
        "GatherBlockQuantized",
        builder.constant("int8", table.integers),
        ids,
        builder.constant("scales", table.scales),
        builder.constant("zeros", table.packed_zeros),
        name=name,
        domain=_DOMAIN,
        bits=table.format.bits,
        block_size=table.format.block,
        gather_axis=0,
        quantize_axis=1,
    )


def unpack(builder: NodeBuilder, weights: BlockWeights) -> ir.Value:
    """Return weights (outputs, inputs) as floats, made from the integers by standard operators."""
    outputs, inputs = weights.integers.shape
    blocks, size = weights.scales.shape[1], weights.format.block
    integers = builder.constant(f"int{weights.format.bits}", weights.packed)
    if weights.format.bits == 4:
        four, last = (
            builder.constant("four", np.array(4, np.uint8)),
            builder.constant("last", np.array([-1])),
        )
        first = builder.op("BitShift", integers, four, name="up", direction="LEFT")
        first = builder.op("BitShift", first, four, name="first", direction="RIGHT")
        second = builder.op("BitShift", integers, four, name="second", direction="RIGHT")
        pairs = [
            builder.op("Unsqueeze", value, last, name=name)
            for value, name in ((first, "of_first"), (second, "of_second"))
        ]
        shape = builder.constant("blocks", np.array([outputs, blocks, size]))
        integers = builder.op("Concat", *pairs, name="pairs", axis=-1)
        integers = builder.op("Reshape", integers, shape, name="integers")
    real = builder.op("Cast", integers, name="real", to=ir.DataType.FLOAT)
    zeros = builder.constant("zeros", weights.zeros.astype(np.float32)[..., None])
    centred = builder.op("Sub", real, zeros, name="centred")
    scaled = builder.op(
        "Mul", centred, builder.constant("scales", weights.scales[..., None]), name="scaled"
    )
    rows = builder.constant("rows", np.array([outputs, blocks * size]))
    value = builder.op("Reshape", scaled, rows, name="padded")
    if blocks * size == inputs:
        return value
    starts, ends, axes = (
        builder.constant(n, np.array([v])) for n, v in (("start", 0), ("end", inputs), ("axis", 1))
    )
    return builder.op("Slice", value, starts, ends, axes, name="cut")
