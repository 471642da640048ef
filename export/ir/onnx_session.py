"""A fresh ONNX Runtime session to compare with: the CPU, one thread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edgernn.errors import MissingExtraError, UnsupportedModelError

__all__ = ["fresh_session", "reason_of", "run_session"]


_PREAMBLE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:\s*)?")


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
    options.enable_cpu_mem_arena = False  # it would keep what the largest run took
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = reason_of(error)
        helps = (
            " It is older than the graph's opset: upgrade it, or choose an older one with --opset."
            if "opset" in reason or "IR version" in reason
            else ""
        )
        raise UnsupportedModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the graph: {reason}.{helps}"
        ) from error


def reason_of(error: Exception) -> str:
    """Return what ONNX Runtime says in an exception, without its codes and the file."""
    return _PREAMBLE.sub("", str(error).strip()).partition("\n")[0].strip().rstrip(".")


def run_session(
    session: Any, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """Return outputs by their names, without a copy of what may be large."""
    from onnxruntime import OrtValue

    values = {name: OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
    return [value.numpy() for value in session.run_with_ort_values(outputs, values)]
