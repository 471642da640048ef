"""Equal weights stored once: of two layers, or of an embedding and a head.

table (10, 4), head (4, 10) = tableᵀ    becomes    table, head = Transpose(table)
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass

__all__ = ["share_weights"]

_SMALLEST = 1024
"""The least bytes of a matrix that is compared with the transposes of others."""


def share_weights(model: ir.Model) -> None:
    """Store equal weights once, in place.

    1. Equal tensors become one.
    2. Of a matrix and its transpose one becomes a Transpose of the other, which runtimes evaluate
       when they load the graph. A matrix whose rows are looked up by ids is kept as it is.
    """
    DeduplicateInitializersPass(size_limit=1 << 40)(model)
    graph = model.graph
    ports = {*graph.inputs, *graph.outputs}
    matrices = [
        value
        for value in graph.initializers.values()
        if value not in ports and _is_large_matrix(value.const_value)
    ]
    stored: dict[bytes, ir.Value] = {}
    for value in sorted(matrices, key=lambda one: not _is_looked_up(one)):
        assert value.const_value is not None
        array = value.const_value.numpy()
        transpose = stored.get(_digest(array.T))
        if transpose is None or _is_looked_up(value):
            stored.setdefault(_digest(array), value)
            continue
        node = ir.node("Transpose", [transpose], {"perm": [1, 0]}, name=f"{value.name}_transposed")
        replacement = node.outputs[0]
        replacement.shape, replacement.type = value.shape, value.type
        ir.convenience.replace_all_uses_with(value, replacement)
        graph.initializers.pop(value.name or "")
        replacement.name = value.name
        graph.insert_before(graph[0], node)


def _is_large_matrix(tensor: ir.TensorProtocol | None) -> bool:
    return tensor is not None and len(tensor.shape) == 2 and tensor.nbytes >= _SMALLEST


def _is_looked_up(value: ir.Value) -> bool:
    """Return whether rows of a matrix are looked up by ids."""
    return any(node.op_type == "Gather" and place == 0 for node, place in value.uses())


def _digest(array: np.ndarray) -> bytes:
    head = f"{array.dtype} {array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest()
