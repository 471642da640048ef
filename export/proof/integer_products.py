"""Products in integers: whether they come out the same on every CPU, and right on this one.

The gate runs a graph on one CPU. That says something of others only where no CPU can compute its
integers differently: so the weights in the file are held against the bound under which none
saturates, and what ONNX Runtime makes of them here against NumPy, at the activations that come
nearest to saturation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import ParityError
from edgernn.export.analysis.saturation import PAIR_LIMIT, pair_sums
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.onnx_session import OnnxSession

__all__ = ["check_integers", "extreme_activations"]

_Product = Callable[[NDArray[np.uint8]], NDArray[Any]]

_FLOAT = {("", "Conv"): 1, ("", "Gemm"): 1, ("", "MatMul"): 1}
"""Operators between DequantizeLinears, which ONNX Runtime runs in integers, and their weights."""

_PLACES = {
    **_FLOAT,
    ("", "ConvInteger"): 1,
    ("", "MatMulInteger"): 1,
    ("", "QLinearConv"): 3,
    ("", "QLinearMatMul"): 3,
    ("com.microsoft", "DynamicQuantizeMatMul"): 1,
    ("com.microsoft", "MatMulIntegerToFloat"): 1,
    ("com.microsoft", "QGemm"): 3,
}
"""Products in integers, and the place of their weights."""

_CHANNELS = 16
"""Outputs of a product, those nearest to saturation, for which activations are made."""


def check_integers(kind: str, path: str) -> None:
    """Check every product in integers of a file whose weights are constant and signed.

    Args:
        kind: What messages call the graph, `sequence` or `step`.
        path: Its file.

    Raises:
        ParityError: Weights are such that CPUs saturate, or ONNX Runtime is wrong on this one.
    """
    for node in ir.load(path).graph.all_nodes():
        weights = _integer_weights(node)
        if weights is None:
            continue
        name = f"`{node.name or node.outputs[0].name}` of the {kind} graph"
        largest = int(pair_sums(weights).max(initial=0))
        if largest > PAIR_LIMIT:
            raise ParityError(
                f"{name} multiplies integers with neighbouring weights that come to {largest} "
                f"together; {PAIR_LIMIT} was expected at most, beyond which CPUs without VNNI "
                "saturate. Export the float32 model with --precision int8."
            )
        if node.op_type == "MatMulInteger":
            _check_here(name, weights, _zero_of(node))


def _check_here(name: str, weights: NDArray[np.int8], zero: int) -> None:
    """Hold ONNX Runtime's product against NumPy's, for many rows at once and for single ones."""
    activations = extreme_activations(weights)
    expected = (activations.astype(np.int64) - zero) @ weights.astype(np.int64)
    product = _in_onnxruntime(weights, zero)
    for rows in (slice(None), *(slice(row, row + 1) for row in range(4))):
        got = product(activations[rows])
        if not np.array_equal(got, expected[rows]):
            raise ParityError(
                f"{name} is wrong in ONNX Runtime on this CPU: "
                f"{np.count_nonzero(got != expected[rows])} of {got.size} integers are not those "
                "that NumPy computes. Export on another machine, or with another version of "
                "onnxruntime."
            )


def extreme_activations(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return activations (rows, inputs) at which 16-bit sums are the largest, and random ones.

    A sum of two products is linear in its activations, so it is largest where they are 255 for the
    weights of one sign and 0 for the others. There are such rows for both signs of the outputs
    that come nearest to saturation, besides all 255 and all 0.

    Args:
        weights: (inputs, outputs).
    """
    worst = np.argsort(-pair_sums(weights))[:_CHANNELS]
    columns = weights[:, worst].T
    extremes = [np.where(columns > 0, 255, 0), np.where(columns < 0, 255, 0)]
    same = np.repeat([[255], [0]], len(weights), axis=1)
    drawn = np.random.default_rng(0).integers(0, 256, (4, len(weights)))
    return np.concatenate([*extremes, same, drawn]).astype(np.uint8)


def _integer_weights(node: ir.Node) -> NDArray[np.int8] | None:
    """Return the constant signed weights of a product in integers, (inputs, outputs), or None.

    Of a convolution, whose places are summed in whatever order, those that come nearest to
    saturation are made neighbours.
    """
    place = _PLACES.get((node.domain, node.op_type))
    if place is None or len(node.inputs) <= place:
        return None
    value = node.inputs[place]
    if (node.domain, node.op_type) in _FLOAT:
        sources = [one.producer() if one else None for one in (node.inputs[0], value)]
        if not all(one is not None and one.op_type == "DequantizeLinear" for one in sources):
            return None
        assert sources[1] is not None
        value = sources[1].inputs[0]
    weights = constant_of(value)
    if weights is None or weights.dtype != np.int8 or weights.ndim < 2:
        return None
    if node.op_type.endswith(("Conv", "ConvInteger")):
        ordered = np.sort(weights.reshape(len(weights), -1).T, axis=0)
        return ordered[[0, 1, -2, -1]] if len(ordered) > 1 else ordered
    if node.attributes.get_int("transB", 0):
        weights = weights.T
    return np.moveaxis(weights, -2, 0).reshape(weights.shape[-2], -1)


def _zero_of(node: ir.Node) -> int:
    """Return the zero point of unsigned activations, 0 where the graph computes another."""
    zero = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None or zero.size != 1 or zero.dtype != np.uint8:
        return 0
    return int(zero.ravel()[0])


def _in_onnxruntime(weights: NDArray[np.int8], zero: int) -> _Product:
    """Return the product as a graph of this node alone gives it, its weights packed as there."""
    bytes_, integers = (ir.TensorType(dtype) for dtype in (ir.DataType.UINT8, ir.DataType.INT32))
    a = ir.Value(name="a", shape=ir.Shape(["rows", weights.shape[0]]), type=bytes_)
    graph = ir.Graph([a], [], nodes=[], opset_imports={"": 13}, name="product")
    builder = NodeBuilder(graph)
    constants = builder.constant("W", weights), builder.constant("zero", np.array(zero, np.uint8))
    y = builder.op("MatMulInteger", a, *constants, name="y")
    y.shape, y.type = ir.Shape(["rows", weights.shape[1]]), integers
    graph.outputs.append(y)
    serialized = ir.serde.serialize_model(ir.Model(graph, ir_version=7)).SerializeToString()
    session = OnnxSession(serialized)
    return lambda activations: session({"a": activations})["y"]
