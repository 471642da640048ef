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
"""Operators of weights in blocks → the input of their scales, which zero points follow."""

_MOVES = frozenset(
    ("BitShift", "Cast", "Concat", "DequantizeLinear", "Identity", "Mul", "Reshape", "Slice")
) | {"Squeeze", "Sub", "Transpose", "Unsqueeze"}
"""What a weight may pass on its way to the operator that reads it."""

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
    constant, producer = constant_of(value), value.producer() if value is not None else None
    if value is not None and constant is not None:
        if constant.ndim > 1:
            yield value
    elif producer is not None and _is_constant(value):
        along_rows = producer.op_type == "Concat" and producer.attributes.get_int("axis", 0) == 0
        for index in range(len(producer.inputs) if along_rows else 1):
            yield from _sources(producer, index)


def _is_constant(value: ir.Value | None) -> bool:
    """Return whether a value is made from constants alone, by operators that weights may pass."""
    if value is None or constant_of(value) is not None:
        return True
    producer = value.producer()
    return (
        producer is not None
        and producer.op_type in _MOVES
        and all(map(_is_constant, producer.inputs))
    )


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
    elif tensor.dtype == ir.DataType.UINT8 and len(shape) == 3:
        packed = any(use.node.op_type == "BitShift" for use in value.uses())
        rows, blocks, block = shape[0], shape[1], shape[2] * (2 if packed else 1)
        format_ = f"int{4 if packed else 8} in blocks of {block}"
        shape = (rows, blocks * block)
    is_float = tensor.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
    reason = _REASONS.get(node.op_type, _OTHER_REASON) if quantized and is_float else ""
    return StoredWeight(value.name or "", node.op_type, shape, format_, size, reason)


def _scales(node: ir.Node, value: ir.Value) -> list[int]:
    """Return the bytes of the scales and zero points of a weight."""
    readers = [use.node for use in value.uses()]
    inputs: list[ir.Value | None] = []
    for reader in readers[:1]:
        if reader.op_type == "DequantizeLinear":
            inputs = list(reader.inputs[1:])
        elif reader.op_type in _BLOCK_SCALES:
            first = _BLOCK_SCALES[reader.op_type]
            inputs = list(reader.inputs[first : first + 2])
        elif reader.op_type in ("BitShift", "Cast"):
            inputs = [*_scales_after(reader)]
    tensors = [ir.convenience.get_const_tensor(one) for one in inputs if one is not None]
    return [tensor.nbytes for tensor in tensors if tensor is not None]


def _scales_after(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what is subtracted from unpacked integers, and what they are multiplied by."""
    while node.op_type in _MOVES:
        if node.op_type in ("Mul", "Sub"):
            scales = node.inputs[1]
            if scales is not None:
                yield scales
        users = [use.node for use in node.outputs[0].uses()]
        if node.op_type == "Mul" or not users:
            return
        node = users[0]


def _dtype(tensor: ir.TensorProtocol) -> str:
    names = {"FLOAT": "float32", "DOUBLE": "float64", "UINT8": "uint8"}
    return names.get(tensor.dtype.name, tensor.dtype.name.lower())
