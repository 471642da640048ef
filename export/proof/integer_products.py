"""Integer products: whether they are the same on every CPU, and right on this one.

The proof runs a graph on one CPU. That is a proof for others only where no CPU can compute its
integers differently. So

1. signed weights in the file are compared with the bound below which no CPU saturates; unsigned
   weights are summed in 32 bits on every one;
2. ONNX Runtime's products of these weights are compared with NumPy's, at the activations that are
   nearest to saturation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import ParityError
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.quantize.integer_rounding import PAIR_LIMIT, max_pair_sums
from edgernn.option_names import option

__all__ = ["check_integers", "extreme_activations"]

Weights = NDArray[np.int8] | NDArray[np.uint8]

_DEQUANTIZED = {("", "Conv"): 1, ("", "Gemm"): 1, ("", "MatMul"): 1}
"""Operators that ONNX Runtime runs in integers after DequantizeLinear → index of their weights."""

_WEIGHT_INPUTS = {
    **_DEQUANTIZED,
    ("", "ConvInteger"): 1,
    ("", "MatMulInteger"): 1,
    ("", "QLinearConv"): 3,
    ("", "QLinearMatMul"): 3,
    ("com.microsoft", "DynamicQuantizeMatMul"): 1,
    ("com.microsoft", "MatMulIntegerToFloat"): 1,
    ("com.microsoft", "QGemm"): 3,
}
"""Integer products → index of the input that holds their weights."""

_CHANNELS = 16
"""The number of outputs, those nearest to saturation, that activations are made for."""


def check_integers(kind: str, path: str) -> None:
    """Check every integer product of a graph whose weights are constant.

    Raises:
        ParityError: Some CPUs saturate with these weights, or ONNX Runtime is wrong on this one.
    """
    for node in ir.load(path).graph.all_nodes():
        weights = _integer_weights(node)
        if weights is None:
            continue
        name = f"`{node.name or node.outputs[0].name}` of the {kind} graph"
        signed = weights.dtype == np.int8
        largest = int(max_pair_sums(weights).max(initial=0)) if signed else 0
        if largest > PAIR_LIMIT:
            raise ParityError(
                f"{name} multiplies integers with neighbouring weights that come to {largest} "
                f"together; {PAIR_LIMIT} was expected at most, beyond which CPUs without VNNI "
                f"saturate. Export the float32 model with {option('precision', 'int8')}."
            )
        if node.op_type == "MatMulInteger":
            _check_this_cpu(name, weights, _zero_point(node, 2), _zero_point(node, 3))


def _check_this_cpu(name: str, weights: Weights, zero: int, of_weights: int) -> None:
    """Compare ONNX Runtime's product with NumPy's, for many rows at once and for single rows."""
    activations = extreme_activations(weights)
    expected = (activations.astype(np.int64) - zero) @ (weights.astype(np.int64) - of_weights)
    product = _in_onnxruntime(weights, zero, of_weights)
    for rows in (slice(None), *(slice(row, row + 1) for row in range(4))):
        got = product(activations[rows])
        if not np.array_equal(got, expected[rows]):
            raise ParityError(
                f"{name} is wrong in ONNX Runtime on this CPU: "
                f"{np.count_nonzero(got != expected[rows])} of {got.size} integers are not those "
                "that NumPy computes. Export on another machine, or with another version of "
                "onnxruntime."
            )


def extreme_activations(weights: Weights) -> NDArray[np.uint8]:
    """Return activations (rows, inputs) at which 16-bit sums are the largest, and random ones.

    A sum of two products is linear in its activations, so it is largest where they are 255 for
    weights of one sign and 0 for others. There are such rows for both signs of the outputs that are
    nearest to saturation, and rows of all 255 and all 0.

    Args:
        weights: (inputs, outputs).
    """
    worst = np.argsort(-max_pair_sums(weights))[:_CHANNELS]
    columns = weights[:, worst].T
    extremes = [np.where(columns > 0, 255, 0), np.where(columns < 0, 255, 0)]
    same = np.repeat([[255], [0]], len(weights), axis=1)
    drawn = np.random.default_rng(0).integers(0, 256, (4, len(weights)))
    return np.concatenate([*extremes, same, drawn]).astype(np.uint8)


def _integer_weights(node: ir.Node) -> Weights | None:
    """Return the constant weights of an integer product, (inputs, outputs), or None.

    A convolution sums in an unknown order: the weights nearest to saturation become neighbours.
    """
    index = _WEIGHT_INPUTS.get((node.domain, node.op_type))
    if index is None or len(node.inputs) <= index:
        return None
    value = node.inputs[index]
    if (node.domain, node.op_type) in _DEQUANTIZED:
        sources = [one.producer() if one else None for one in (node.inputs[0], value)]
        if not all(one is not None and one.op_type == "DequantizeLinear" for one in sources):
            return None
        assert sources[1] is not None
        value = sources[1].inputs[0]
    weights = constant_of(value)
    if weights is None or weights.dtype not in (np.int8, np.uint8) or weights.ndim < 2:
        return None
    if node.op_type.endswith(("Conv", "ConvInteger")):
        ordered = np.sort(weights.reshape(len(weights), -1).T, axis=0)
        return ordered[[0, 1, -2, -1]] if len(ordered) > 1 else ordered
    if node.attributes.get_int("transB", 0):
        weights = weights.T
    return np.moveaxis(weights, -2, 0).reshape(weights.shape[-2], -1)


def _zero_point(node: ir.Node, place: int) -> int:
    """Return a constant zero point of unsigned bytes, or 0 where it is none."""
    zero = constant_of(node.inputs[place]) if len(node.inputs) > place else None
    if zero is None or zero.size != 1 or zero.dtype != np.uint8:
        return 0
    return int(zero.ravel()[0])


def _in_onnxruntime(
    weights: Weights, zero: int, of_weights: int
) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Return the product in a graph of this node alone, where weights are packed as in the file."""
    inputs, outputs = weights.shape
    model = ir.from_onnx_text(
        f'<ir_version: 7, opset_import: ["": 13]> product (uint8[rows, {inputs}] a, '
        f"{weights.dtype}[{inputs}, {outputs}] W, uint8 zero, {weights.dtype} of_weights) "
        f"=> (int32[rows, {outputs}] y) {{ y = MatMulInteger(a, W, zero, of_weights) }}"
    )
    # onnx-ir warns of constants that it is handed
    for value in (weights.dtype.type(of_weights), np.uint8(zero), weights):
        constant = model.graph.inputs.pop()
        constant.const_value = ir.tensor(value, name=constant.name)
        model.graph.register_initializer(constant)
    session = OnnxSession(ir.serde.serialize_model(model).SerializeToString())
    return lambda activations: session({"a": activations})["y"]
