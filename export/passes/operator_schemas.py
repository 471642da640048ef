"""What ONNX's operators take and give in one opset."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

__all__ = ["allows", "schema_of"]

Parameters = Sequence[onnx.defs.OpSchema.FormalParameter]

_TYPE_NAMES = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}


def schema_of(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the schema of an operator of ONNX's own domain, or None where `opset` has none."""
    return onnx.defs.get_schema(op_type, opset) if onnx.defs.has(op_type, opset) else None


def allows(parameters: Parameters, place: int, dtype: ir.DataType) -> bool:
    """Return whether the input or output at `place` may have `dtype`; the last one may repeat."""
    name = _TYPE_NAMES.get(dtype, dtype.name.lower())
    return f"tensor({name})" in parameters[min(place, len(parameters) - 1)].types
