"""ONNX graphs as functions, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.onnx_session import fresh_session

__all__ = ["COPY", "Arrays", "named_values", "session", "values_of", "with_copies"]

Arrays = Mapping[str, NDArray[Any]]
Session = Callable[[Arrays], dict[str, NDArray[Any]]]

COPY = "__watched"
"""What the name of an output ends with that is the copy of another value."""


def session(model: str | bytes, subject: str) -> Session:
    """Return a graph as a function from inputs to outputs by name, on one thread of the CPU.

    Raises:
        UnsupportedModelError: ONNX Runtime cannot load it.
    """
    try:
        opened = fresh_session(model)
    except UnsupportedModelError as error:
        reason = str(error.__cause__).strip().partition("\n")[0]
        raise UnsupportedModelError(
            f"{subject} cannot be run by ONNX Runtime, which is what its graphs would be proven "
            f"against: {reason}"
        ) from error
    inputs = [port.name for port in opened.get_inputs()]
    outputs = [port.name for port in opened.get_outputs()]

    def run(feeds: Arrays) -> dict[str, NDArray[Any]]:
        given = {name: np.ascontiguousarray(feeds[name]) for name in inputs if name in feeds}
        results: list[Any] = [*opened.run(None, given)]
        return dict(zip(outputs, results, strict=True))

    return run


def named_values(graph: ir.Graph, names: Iterable[str]) -> list[ir.Value]:
    """Return the values of `graph` that have these names."""
    inner = (value for node in graph for value in node.outputs)
    known = {value.name: value for value in (*graph.inputs, *graph.initializers.values(), *inner)}
    return [known[name] for name in names]


def values_of(
    model: ir.Model, values: Sequence[ir.Value], feeds: Arrays, subject: str
) -> list[NDArray[Any]]:
    """Return what `values` of a model are for some inputs; it is left as it is."""
    names = [value.name or "" for value in values]
    copy = model.clone()
    copy.graph.outputs[:] = named_values(copy.graph, dict.fromkeys(names))
    passes.RemoveUnusedNodesPass()(copy)
    proto = ir.serde.serialize_model(with_copies(copy)).SerializeToString()
    results = {
        name.removesuffix(COPY): value for name, value in session(proto, subject)(feeds).items()
    }
    return [results[name] for name in names]


def with_copies(model: ir.Model) -> ir.Model:
    """Return the model with a copy for each output that no node gives, or that is there twice."""
    seen: set[ir.Value] = set()
    outputs = model.graph.outputs
    for place, value in enumerate(outputs):
        if value in seen or value.producer() is None:
            copy = ir.node("Identity", [value])
            model.graph.append(copy)
            copy.outputs[0].name = f"{value.name}{COPY}"
            copy.outputs[0].type = value.type
            outputs[place] = copy.outputs[0]
        seen.add(value)
    return model
