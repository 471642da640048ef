"""What graphs may differ by from the model that they are proven against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

__all__ = ["CEILING", "TOLERANCE", "TOLERANCES", "tolerance_of"]

TOLERANCE = 1e-5
"""The largest difference that passes for float32, relative to the numbers' scale."""

CEILING = 1e-3
"""The largest difference that rounding excuses, relative to the numbers' scale."""

TOLERANCES: Mapping[str, float] = {"float32": TOLERANCE, "float16": 2e-2, "int8": 5e-2}
"""Precision → the largest difference from eager torch in float32 that passes."""

_PRECISIONS = {ir.DataType.INT8: "int8", ir.DataType.FLOAT16: "float16"}


def tolerance_of(models: Iterable[ir.Model]) -> float:
    """Return the largest difference that passes for graphs by the precision of their weights."""
    dtypes = {
        value.dtype
        for model in models
        for graph in model.graphs()
        for value in (*graph.inputs, *graph.initializers.values())
    }
    return next((TOLERANCES[_PRECISIONS[one]] for one in _PRECISIONS if one in dtypes), TOLERANCE)
