"""A fresh ONNX Runtime session to compare with: the CPU, one thread."""

from __future__ import annotations

from typing import Any

from edgernn.errors import MissingExtraError

__all__ = ["fresh_session"]


def fresh_session(model: bytes | str) -> Any:
    """Return an `onnxruntime.InferenceSession` of a serialized graph or a file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            'Proving a graph needs onnxruntime: pip install "edgernn[cpu]".'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
