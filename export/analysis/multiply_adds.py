"""How many multiply-adds a node makes, by operator.

Shapes are those of one call with 1 for every symbolic axis; an unknown axis counts as 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import onnx_ir as ir

from edgernn.export.ir.recurrent_operators import LSTM, OPERATORS, Input

__all__ = ["RECURRENT_KINDS", "count_elements", "count_multiply_adds", "hidden_size", "steps_of"]

RECURRENT_KINDS = {**OPERATORS, "DynamicQuantizeLSTM": LSTM}
"""The recurrent operators, before and after quantization by ONNX Runtime, each with its kind."""


def count_multiply_adds(graph: ir.Graph) -> int:
    """Return the multiply-adds of one call of `graph`, bodies of Scan and Loop included."""
    return sum(map(_node_count, graph))


def steps_of(node: ir.Node) -> int:
    """Return the steps that a recurrent node or Scan runs in one call, of all sequences; else 1."""
    if node.op_type in RECURRENT_KINDS:
        return count_elements(node.inputs[Input.X], slice(0, 2))
    if node.op_type == "Scan":
        return _length(node) * count_elements(node.inputs[0], slice(0, -1))
    return 1


def hidden_size(node: ir.Node) -> int:
    """Return the hidden size of a recurrent node, from its recurrent weights if it names none."""
    of_weights = count_elements(node.inputs[Input.R], slice(-1, None))
    return node.attributes.get_int("hidden_size", of_weights)


def count_elements(value: ir.Value | None, axes: slice = slice(None)) -> int:
    """Return the number of elements of `value` along `axes`."""
    return math.prod(_sizes(value)[axes])


def _sizes(value: ir.Value | None) -> list[int]:
    if value is None:
        return []
    constant = ir.convenience.get_const_tensor(value)
    shape = value.shape if constant is None else constant.shape
    return [max(1, size) if isinstance(size, int) else 1 for size in shape or ()]


def _node_count(node: ir.Node) -> int:
    bodies = [count_multiply_adds(attribute.as_graph()) for attribute in _graphs(node)]
    if node.op_type == "If":
        return max(bodies)
    if bodies:
        return sum(bodies) * (_length(node) if node.op_type == "Scan" else 1)
    count = _PRODUCTS.get(node.op_type)
    return count(node) if count else 0


def _graphs(node: ir.Node) -> list[ir.Attr]:
    return [a for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def _length(scan: ir.Node) -> int:
    """Return the length of the axis that `scan` goes along."""
    count = scan.attributes.get_int("num_scan_inputs", 1)
    axis = (*scan.attributes.get_ints("scan_input_axes", ()), 0)[0]
    sizes = _sizes(scan.inputs[-count])
    return sizes[axis] if sizes else 1


def _layer(node: ir.Node) -> int:
    weights = sum(count_elements(node.inputs[place]) for place in (Input.W, Input.R))
    return steps_of(node) * weights


def _matrix(node: ir.Node, place: int = 1) -> int:
    """Return the count of a product with the matrix at input `place`, (inner, columns)."""
    left, right = node.inputs[0], node.inputs[place]
    sizes = _sizes(right)
    if len(sizes) <= 2:
        return count_elements(right) * max(1, count_elements(left) // (sizes or [1])[0])
    return count_elements(node.outputs[0]) * sizes[-2]


def _gemm(node: ir.Node) -> int:
    inner = -2 if node.attributes.get_int("transA", 0) else -1
    rows = count_elements(node.inputs[0]) // (_sizes(node.inputs[0]) or [1, 1])[inner]
    return rows * count_elements(node.inputs[1])


def _blocks(node: ir.Node) -> int:
    inner, columns = (node.attributes[name].as_int() for name in ("K", "N"))
    return max(1, count_elements(node.inputs[0]) // inner) * inner * columns


def _convolution(node: ir.Node, place: int = 1) -> int:
    """Return the count of a convolution with the kernels at input `place`."""
    return _positions(node.outputs[0]) * count_elements(node.inputs[place])


def _positions(image: ir.Value | None) -> int:
    return count_elements(image) // (_sizes(image) or [1, 1])[1]


def _einsum(node: ir.Node) -> int:
    terms = node.attributes.get_string("equation", "").split("->")[0].replace(" ", "").split(",")
    sizes: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        sizes |= zip(term, _sizes(value), strict=False)
    return math.prod(sizes.values())


_PRODUCTS: Mapping[str, Callable[[ir.Node], int]] = {
    **dict.fromkeys(RECURRENT_KINDS, _layer),
    "Gemm": _gemm,
    **dict.fromkeys(("MatMul", "FusedMatMul", "MatMulInteger"), _matrix),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _matrix),
    "QLinearMatMul": partial(_matrix, place=3),
    "MatMulNBits": _blocks,
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger"), _convolution),
    "QLinearConv": partial(_convolution, place=3),
    "ConvTranspose": lambda node: _positions(node.inputs[0]) * count_elements(node.inputs[1]),
    "Einsum": _einsum,
}
