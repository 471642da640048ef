"""Weights that are the same stored once: those of two layers, of an embedding and a head."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass

__all__ = ["share_weights"]

_SMALLEST = 1024
"""Bytes from which on a matrix is compared with the transpose of others."""


def share_weights(model: ir.Model) -> None:
    """Store equal weights once, in place; of a matrix and its transpose the one that is looked up.

    The other is then a Transpose, which runtimes evaluate when they load the graph.
    """
    DeduplicateInitializersPass(size_limit=1 << 40)(model)
    graph = model.graph
    ports = {*graph.inputs, *graph.outputs}
    matrices = [
        value
        for value in graph.initializers.values()
        if value not in ports and _is_large_matrix(value.const_value)
    ]
    kept: dict[bytes, ir.Value] = {}
    for value in sorted(matrices, key=lambda one: not _is_looked_up(one)):
        assert value.const_value is not None
        array = value.const_value.numpy()
        twin = kept.get(_digest(array.T))
        if twin is None or _is_looked_up(value):
            kept.setdefault(_digest(array), value)
            continue
        node = ir.node("Transpose", [twin], {"perm": [1, 0]}, name=f"{value.name}_transposed")
        turned = node.outputs[0]
        turned.shape, turned.type = value.shape, value.type
        ir.convenience.replace_all_uses_with(value, turned)
        graph.initializers.pop(value.name or "")
        turned.name = value.name
        graph.insert_before(graph[0], node)


def _is_large_matrix(tensor: ir.TensorProtocol | None) -> bool:
    return tensor is not None and len(tensor.shape) == 2 and tensor.nbytes >= _SMALLEST


def _is_looked_up(value: ir.Value) -> bool:
    """Return whether rows of a matrix are taken by ids."""
    return any(node.op_type == "Gather" and place == 0 for node, place in value.uses())


def _digest(array: np.ndarray) -> bytes:
    head = f"{array.dtype} {array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest()
