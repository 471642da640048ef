"""The optional packages that edgernn imports, and the extra that installs each."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EXTRAS"]

EXTRAS: Mapping[str, str] = {
    "onnxruntime": "cpu",
    "matplotlib": "plot",
    "torch": "export",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "sympy": "export",
    "filelock": "export",
    "google": "export",  # protobuf
}
"""Name of a package as it is imported → the extra of edgernn that installs it."""
