"""The graph of a file in another opset or precision, in opset 18 and float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import version_converter

from edgernn.errors import UnsupportedModelError
from edgernn.export.analysis.graph_patterns import all_nodes
from edgernn.export.ir.fold_constants import OPSET

__all__ = ["convert_opset", "to_float32"]

_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def convert_opset(path: Path, model: ir.Model) -> ir.Model:
    """Return the graph of a file, which is not changed, in opset 18.

    An operator of a newer opset that the converter does not know is kept where opset 18 has it with
    the same inputs and attributes; parity shows whether it computes the same.

    Raises:
        UnsupportedModelError: An operator has no form in opset 18.
    """
    model = model.clone()
    imports = model.graph.opset_imports
    version = imports.pop("ai.onnx", imports.get("", 0))
    imports[""] = version
    for node in model.graph.all_nodes():
        node.domain = "" if node.domain == "ai.onnx" else node.domain
    if version == OPSET:
        return model
    proto = ir.serde.serialize_model(model)
    try:
        return ir.serde.deserialize_model(version_converter.convert_version(proto, OPSET))
    except Exception as error:  # the converter's errors have no common base class
        reason = str(error).strip().partition("\n")[0]
    if version > OPSET:
        next(one for one in proto.opset_import if not one.domain).version = OPSET
        try:
            onnx.checker.check_model(proto, full_check=True)
            return ir.serde.deserialize_model(proto)
        except onnx.checker.ValidationError as error:
            reason = str(error).strip().partition("\n")[0]
    raise UnsupportedModelError(
        f"`{path}` is of opset {version} and cannot be brought to opset {OPSET}: {reason}. "
        f"Export the model again with opset {OPSET}."
    )


def to_float32(model: ir.Model) -> tuple[str, str] | None:
    """Write weights, ports and computation of `model` in float32, in place.

    Returns:
        The change in words that follow "the original file", and a note to the user; None where all
        was in float32.
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
            node.attributes[attr.name] = _attribute(attr)
    names = " and ".join(sorted(str(dtype.numpy().name) for dtype in found if dtype is not None))
    return "in float32", f"The file is in {names}; it is run and written in float32."


def _retype(value: ir.Value) -> None:
    if value.dtype in _OTHER_FLOATS:
        value.type = ir.TensorType(ir.DataType.FLOAT)


def _converted(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _attribute(attr: ir.Attr) -> ir.Attr:
    """Return an attribute, as one for float32 where it asks for another precision."""
    if attr.type == ir.AttributeType.TENSOR and attr.as_tensor().dtype in _OTHER_FLOATS:
        return ir.AttrTensor(attr.name, _converted(attr.as_tensor()))
    asked = attr.name in ("to", "dtype", "output_dtype", "stash_type")
    if asked and attr.type == ir.AttributeType.INT and attr.as_int() in _OTHER_FLOATS:
        return ir.AttrInt64(attr.name, int(ir.DataType.FLOAT))
    return attr
