"""The inputs and outputs of a graph as ports of a contract, and the names of a trace's outputs.

`trace` names an output `result:` and its path in what forward returns.
"""

from __future__ import annotations

import onnx_ir as ir

from edgernn.contract import Port

__all__ = ["port_of", "result_name", "result_path"]

_RESULT = "result:"


def port_of(value: ir.Value) -> Port:
    """Return the name, dtype and shape of a graph input or output.

    What the graph does not declare is `unknown` (the dtype) or `?` (a size, or the whole shape).
    """
    shape: tuple[int | str, ...] = ("?",)
    if value.shape is not None:
        shape = tuple(dim if isinstance(dim, int) else dim.value or "?" for dim in value.shape)
    return Port(value.name or "", _dtype_name(value.dtype), shape)


def _dtype_name(dtype: ir.DataType | None) -> str:
    if dtype is None:
        return "unknown"
    return "string" if dtype == ir.DataType.STRING else str(dtype.numpy().name)


def result_name(path: str) -> str:
    """Return what `trace` names the graph output at `path` in forward's result."""
    return _RESULT + path


def result_path(value: ir.Value) -> str | None:
    """Return the path in forward's result of a graph output named by `trace`, else None."""
    name = value.name or ""
    return name.removeprefix(_RESULT) if name.startswith(_RESULT) else None
