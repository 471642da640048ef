"""Convert a graph of any opset to the one that graphs are written in."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter

from edgernn.errors import UnsupportedModelError
from edgernn.export.foreign.onnx_file import OnnxFile
from edgernn.export.ir.fold_constants import OPSET

__all__ = ["convert_opset"]


def convert_opset(file: OnnxFile, model: ir.Model) -> ir.Model:
    """Return `model`, which is not changed, in opset 18.

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
        f"`{file.path}` is of opset {version} and cannot be brought to opset {OPSET}: {reason}. "
        f"Export the model again with opset {OPSET}."
    )
