"""Values inside a graph, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.onnx_session import Arrays, OnnxSession

__all__ = ["evaluate", "open_session", "values_by_name"]


def open_session(model: str | bytes | ir.Model, subject: str) -> OnnxSession:
    """Return a session of a graph that somebody else made.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load it; the text calls it `subject`.
    """
    runnable: str | bytes
    if isinstance(model, ir.Model):
        runnable = ir.serde.serialize_model(model).SerializeToString()
    else:
        runnable = model
    try:
        return OnnxSession(runnable)
    except UnsupportedModelError as error:
        reason = str(error.__cause__).strip().partition("\n")[0]
        raise UnsupportedModelError(
            f"{subject} cannot be run by ONNX Runtime, which is what its graphs would be proven "
            f"against: {reason}"
        ) from error


def values_by_name(graph: ir.Graph, names: Iterable[str]) -> list[ir.Value]:
    """Return the values of `graph` that have these names."""
    inner = (value for node in graph for value in node.outputs)
    known = {value.name: value for value in (*graph.inputs, *graph.initializers.values(), *inner)}
    return [known[name] for name in names]


def evaluate(
    model: ir.Model, values: Sequence[ir.Value], feeds: Arrays, subject: str
) -> list[NDArray[Any]]:
    """Return what `values` of a model, which is not changed, are for some inputs."""
    names = [value.name or "" for value in values]
    model = model.clone()
    model.graph.outputs[:] = values_by_name(model.graph, dict.fromkeys(names))
    passes.RemoveUnusedNodesPass()(model)
    results = open_session(model, subject)(feeds)
    return [np.array(results[name]) for name in names]  # a copy: the session owns initializers
