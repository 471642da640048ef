"""Write a graph in float16, bfloat16 or float64 in float32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgernn.export.analysis.graph_patterns import all_nodes
from edgernn.export.foreign.canonicalize import Change

__all__ = ["to_float32"]

_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def to_float32(model: ir.Model) -> Change | None:
    """Write weights, ports and computation of `model` in float32, in place.

    Returns:
        What was changed, or None where all was in float32.
    """
    found = {
        value.dtype
        for value in [*model.graph.initializers.values(), *model.graph.inputs]
        if value.dtype in _OTHER_FLOATS
    }
    if not found:
        return None
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype in _OTHER_FLOATS:
                value.const_value = _converted(value.const_value)
            _retype(value)
        for value in (*graph.inputs, *graph.outputs):
            _retype(value)
    for node in all_nodes(model):
        for value in node.outputs:
            _retype(value)
        for attr in list(node.attributes.values()):
            changed = _attribute(node, attr)
            if changed is not None:
                node.attributes[attr.name] = changed
    names = " and ".join(sorted(str(dtype.numpy().name) for dtype in found if dtype is not None))
    return Change("in float32", f"The file is in {names}; it is run and written in float32.")


def _retype(value: ir.Value) -> None:
    if value.dtype in _OTHER_FLOATS:
        value.type = ir.TensorType(ir.DataType.FLOAT)


def _converted(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _attribute(node: ir.Node, attr: ir.Attr) -> ir.Attr | None:
    """Return an attribute that asks for another precision as one for float32, or None."""
    if attr.type == ir.AttributeType.TENSOR and attr.as_tensor().dtype in _OTHER_FLOATS:
        return ir.AttrTensor(attr.name, _converted(attr.as_tensor()))
    asked = attr.name in ("to", "dtype", "output_dtype", "stash_type")
    if (
        asked
        and attr.type == ir.AttributeType.INT
        and attr.as_int() in [int(o) for o in _OTHER_FLOATS]
    ):
        return ir.AttrInt64(attr.name, int(ir.DataType.FLOAT))
    return None
