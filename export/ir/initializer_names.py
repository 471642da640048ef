"""The names of weights: those of the model's own parameters."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["name_after_model", "remove_unused_initializers"]

_WRAPPER = "module."


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
