"""Products in integers: whether they come out the same on every CPU, and right on this one.

The gate runs a graph on one CPU. That says something of others only where no CPU can compute its
integers differently: so the weights in the file are held against the bound under which none
saturates, and what ONNX Runtime makes of them here against NumPy, at the activations that come
nearest to saturation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import ParityError
from edgernn.export.analysis.saturation import PAIR_LIMIT, pair_sums
from edgernn.export.proof.session import fresh_session
from edgernn.export.step.wiring import Wiring, constant_of

__all__ = ["check_integers", "extreme_activations"]

_CHANNELS = 16
"""Outputs of a product, those nearest to saturation, for which activations are made."""


def check_integers(kind: str, path: str) -> None:
    """Check every product of unsigned activations and constant signed weights in a file.

    Args:
        kind: What messages call the graph, `sequence` or `step`.
        path: Its file.

    Raises:
        ParityError: Weights are such that CPUs saturate, or ONNX Runtime is wrong on this one.
    """
    for node, weights, zero in _products(ir.load(path)):
        name = f"`{node.name or node.outputs[0].name}` of the {kind} graph"
        largest = int(pair_sums(weights).max(initial=0))
        if largest > PAIR_LIMIT:
            raise ParityError(
                f"{name} multiplies integers with neighbouring weights that come to {largest} "
                f"together; {PAIR_LIMIT} was expected at most, beyond which CPUs without VNNI "
                "saturate. Export the float32 model with --precision int8."
            )
        activations = extreme_activations(weights)
        expected = (activations.astype(np.int64) - zero) @ weights.astype(np.int64)
        for rows in (slice(None), *(slice(row, row + 1) for row in range(4))):
            got = _in_onnxruntime(activations[rows], weights, zero)
            if not np.array_equal(got, expected[rows]):
                raise ParityError(
                    f"{name} is wrong in ONNX Runtime on this CPU: "
                    f"{np.count_nonzero(got != expected[rows])} of {got.size} integers are not "
                    "those that NumPy computes. Export on another machine, or with another "
                    "version of onnxruntime."
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


def _products(model: ir.Model) -> Iterator[tuple[ir.Node, NDArray[np.int8], int]]:
    """Yield products in integers with their weights (inputs, outputs) and their zero point."""
    for node in model.graph.all_nodes():
        if node.op_type != "MatMulInteger" or node.domain:
            continue
        weights = constant_of(node.inputs[1])
        zero = constant_of(node.inputs[2]) if len(node.inputs) > 2 else np.zeros((), np.uint8)
        if weights is None or weights.dtype != np.int8 or weights.ndim != 2:
            continue
        unknown = zero is None or zero.size != 1  # such as that of DynamicQuantizeLinear
        yield node, weights, 0 if unknown or zero is None else int(zero.ravel()[0])


def _in_onnxruntime(
    activations: NDArray[np.uint8], weights: NDArray[np.int8], zero: int
) -> NDArray[Any]:
    """Return the product as a graph of this node alone gives it, its weights packed as there."""
    bytes_, integers = (ir.TensorType(dtype) for dtype in (ir.DataType.UINT8, ir.DataType.INT32))
    a = ir.Value(name="a", shape=ir.Shape(["rows", weights.shape[0]]), type=bytes_)
    graph = ir.Graph([a], [], nodes=[], opset_imports={"": 13}, name="product")
    wire = Wiring(graph)
    constants = wire.constant("W", weights), wire.constant("zero", np.array(zero, np.uint8))
    y = wire.op("MatMulInteger", a, *constants, name="y")
    y.shape, y.type = ir.Shape(["rows", weights.shape[1]]), integers
    graph.outputs.append(y)
    serialized = ir.serde.serialize_model(ir.Model(graph, ir_version=7)).SerializeToString()
    return np.asarray(fresh_session(serialized).run(None, {"a": activations})[0])
