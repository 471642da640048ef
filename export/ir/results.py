"""The names of a traced graph's outputs: `result:` and their paths in what forward returns."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["result_name", "result_path"]

_RESULT = "result:"


def result_name(path: str) -> str:
    """Return what `trace` names the graph output at `path` in forward's result."""
    return _RESULT + path


def result_path(value: ir.Value) -> str | None:
    """Return the path in forward's result of a graph output named by `trace`, else None."""
    name = value.name or ""
    return name.removeprefix(_RESULT) if name.startswith(_RESULT) else None
