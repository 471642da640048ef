"""How the weights of a finished graph are stored, and why some are not quantized.

What is in the file is what is reported: a weight is followed from where it is stored to the
operator that reads it.

    W int8 → DequantizeLinear → Concat → LSTM     W of LSTM, int8
    W int8 → MatMulInteger                        W of MatMulInteger, int8
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from edgernn.export.analysis.graph_patterns import all_nodes
from edgernn.export.ir.node_builder import constant_of
from edgernn.export.ir.recurrent_operators import OPERATORS, Input
from edgernn.precision_report import StoredWeight

__all__ = ["stored_weights"]

_WEIGHT_INPUTS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Einsum", "Gemm", "MatMul"), (0, 1)),
    **dict.fromkeys(("Conv", "ConvTranspose", "MatMulInteger", "ConvInteger"), (1,)),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits"), (1,)),
    **dict.fromkeys(OPERATORS, (Input.W, Input.R)),
    "Gather": (0,),
    "GatherBlockQuantized": (0,),
}
"""Operators that read weights of two or more axes, and the inputs that are those weights."""

_BLOCK_SCALES: Mapping[str, int] = {"MatMulNBits": 2, "GatherBlockQuantized": 2}
"""Operators of weights in blocks → the first input of their scales and zero points."""

_MOVES = ("Concat", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Identity", "Cast", "Mul")
"""What a weight may pass between DequantizeLinear and the operator that reads it."""

_REASONS: Mapping[str, str] = {
    "Gather": "a table is read, not multiplied",
    "Conv": "kernels of convolutions have no integer form that is the same on every CPU",
    "ConvTranspose": "kernels of convolutions have no integer form that is the same on every CPU",
    "Einsum": "Einsum has no integer form in ONNX",
}
_OTHER_REASON = "its product has a form that is not quantized"


def stored_weights(model: ir.Model, quantized: bool) -> tuple[StoredWeight, ...]:
    """Return the weights of two or more axes in the order of the operators that read them.

    Args:
        model: A finished graph.
        quantized: Whether its precision quantizes weights: others are then given with the reason.
    """
    found = {
        (value, node.op_type): _stored(node, place, value, quantized)
        for node in all_nodes(model)
        for place in _WEIGHT_INPUTS.get(node.op_type, ())
        for value in _sources(node, place)
    }
    return tuple(found.values())


def _sources(node: ir.Node, place: int) -> Iterator[ir.Value]:
    """Yield the constants that an input of a node is made from, if it is a weight."""
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None:
        return
    constant = constant_of(value)
    if constant is not None:
        if constant.ndim > 1:
            yield value
        return
    producer = value.producer()
    if producer is None:
        return
    if producer.op_type == "DequantizeLinear" or producer.op_type in _MOVES:
        yield from _sources(producer, 0)


def _stored(node: ir.Node, place: int, value: ir.Value, quantized: bool) -> StoredWeight:
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    shape, size, format_ = tuple(tensor.numpy().shape), tensor.nbytes, _dtype(tensor)
    scales = _scales(node, value)
    size += sum(scales)
    if node.op_type in _BLOCK_SCALES:
        bits, block = (node.attributes.get_int(name, 4) for name in ("bits", "block_size"))
        format_ = f"int{bits} in blocks of {block}"
        if node.op_type == "MatMulNBits":
            shape = (node.attributes["K"].as_int(), node.attributes["N"].as_int())
    is_float = tensor.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
    reason = _REASONS.get(node.op_type, _OTHER_REASON) if quantized and is_float else ""
    return StoredWeight(value.name or "", node.op_type, shape, format_, size, reason)


def _scales(node: ir.Node, value: ir.Value) -> list[int]:
    """Return the bytes of the scales and zero points of a weight."""
    owners = [use.node for use in value.uses() if use.node.op_type == "DequantizeLinear"]
    inputs = list(owners[0].inputs[1:]) if owners else []
    if node.op_type in _BLOCK_SCALES and not owners:
        inputs = list(node.inputs[_BLOCK_SCALES[node.op_type] :])
    tensors = [ir.convenience.get_const_tensor(one) for one in inputs if one is not None]
    return [tensor.nbytes for tensor in tensors if tensor is not None]


def _dtype(tensor: ir.TensorProtocol) -> str:
    names = {"FLOAT": "float32", "DOUBLE": "float64", "UINT8": "uint8"}
    return names.get(tensor.dtype.name, tensor.dtype.name.lower())
