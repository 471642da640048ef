"""Graphs in ONNX Runtime, as functions: on the CPU, on one thread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.errors import MissingExtraError, UnsupportedModelError
from edgernn.extras import install_command
from edgernn.option_names import option

__all__ = ["Arrays", "OnnxSession", "failure_reason"]

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by the names of inputs or outputs."""

_PREAMBLE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:\s*)?")

_SMALL = 4096
"""The number of elements up to which a copy costs less than values of ONNX Runtime's own."""


class OnnxSession:
    """A graph, serialized or in a file, in a session of its own; its inputs and outputs in order.

    Raises:
        UnsupportedModelError: This ONNX Runtime cannot load the graph.
    """

    def __init__(self, model: bytes | str) -> None:
        self._session = _open(model)
        self.inputs: list[str] = [port.name for port in self._session.get_inputs()]
        self.outputs: list[str] = [port.name for port in self._session.get_outputs()]

    def __call__(
        self, feeds: Arrays, outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the graph, without a copy of its results where these may be large.

        Args:
            feeds: The inputs; arrays of other names are ignored.
            outputs: The names of the results to return; None for all.
        """
        from onnxruntime import OrtValue

        names = self.outputs if outputs is None else list(outputs)
        arrays = {name: np.asarray(feeds[name], order="C") for name in self.inputs if name in feeds}
        if sum(array.size for array in arrays.values()) <= _SMALL:
            return dict(zip(names, self._session.run(names, arrays), strict=True))
        given = {name: OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        results = self._session.run_with_ort_values(names, given)
        return {name: value.numpy() for name, value in zip(names, results, strict=True)}


def failure_reason(error: Exception) -> str:
    """Return what ONNX Runtime says in an exception, without its codes and the file."""
    return _PREAMBLE.sub("", str(error).strip()).partition("\n")[0].strip().rstrip(".")


def _open(model: bytes | str) -> Any:
    """Return an `onnxruntime.InferenceSession`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            f"Proving a graph needs onnxruntime: {install_command('cpu')}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False  # it would keep what the largest run took
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = failure_reason(error)
        remedy = (
            " It is older than the graph's opset: upgrade it, or choose an older one with "
            f"{option('opset')}."
            if "opset" in reason or "IR version" in reason
            else ""
        )
        raise UnsupportedModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the graph: {reason}.{remedy}"
        ) from error
