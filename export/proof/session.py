"""A fresh ONNX Runtime session to compare with: the CPU, one thread."""

from __future__ import annotations

from typing import Any

from edgernn.errors import MissingExtraError, UnsupportedModelError

__all__ = ["fresh_session"]


def fresh_session(model: bytes | str) -> Any:
    """Return an `onnxruntime.InferenceSession` of a serialized graph or a file.

    Raises:
        UnsupportedModelError: This ONNX Runtime cannot load the graph, being older than its opset.
    """
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
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = str(error).strip().partition("\n")[0]
        raise UnsupportedModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the graph: {reason} Where it is "
            "older than the graph's opset, upgrade it or choose an older one with --opset."
        ) from error
