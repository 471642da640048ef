"""What is named in a graph: the ports of a contract, the outputs of a trace, and weights.

`trace` names an output `result:` and its path in what forward returns. A weight is named as in the
model's `state_dict`.
"""

from __future__ import annotations

import onnx_ir as ir

from edgernn.contract import Port

__all__ = [
    "name_after_model",
    "port_of",
    "remove_unused_initializers",
    "result_name",
    "result_path",
]

_RESULT = "result:"
_WRAPPER = "module."


def port_of(value: ir.Value) -> Port:
    """Return the name, dtype and shape of a graph input or output.

    What the graph does not declare is `unknown` (the dtype) or `?` (a size, or the whole shape).
    """
    shape: tuple[int | str, ...] = ("?",)
    if value.shape is not None:
        shape = tuple(dim if isinstance(dim, int) else dim.value or "?" for dim in value.shape)
    dtype = "unknown" if value.dtype is None else value.dtype.numpy().name
    return Port(value.name or "", "string" if value.dtype == ir.DataType.STRING else dtype, shape)


def result_name(path: str) -> str:
    """Return what `trace` names the graph output at `path` in forward's result."""
    return _RESULT + path


def result_path(value: ir.Value) -> str | None:
    """Return the path in forward's result of a graph output named by `trace`, else None."""
    name = value.name or ""
    return name.removeprefix(_RESULT) if name.startswith(_RESULT) else None


def name_after_model(model: ir.Model) -> None:
    """Name initializers as the model's `state_dict` does, without the prefix of the trace."""
    for graph in model.graphs():
        taken = {value.name for value in [*graph.inputs, *graph.initializers.values()]}
        taken |= {output.name for node in graph for output in node.outputs}
        for value in list(graph.initializers.values()):
            name = (value.name or "").removeprefix(_WRAPPER)
            if name not in taken:
                taken.add(name)
                value.name = name


def remove_unused_initializers(model: ir.Model) -> None:
    """Remove the initializers that no node reads, in place."""
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                graph.initializers.pop(name)
