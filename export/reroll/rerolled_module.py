"""A module whose loops over time are each one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from edgernn.export.capture.pytree import map_tensors, tensor_leaves
from edgernn.export.trace.bounds import Bounds

__all__ = ["RerolledModule"]


class RerolledModule(nn.Module):
    """A module whose loops over time are each one call.

    Its weights have the names that they have in the module that it was made from.

    Args:
        children: Its weights and loops by name.
        graph: Takes the leaves of the arguments, returns those of the result.
        result: What forward returns, with any tensors in it.

    Attributes:
        bounds: The sizes at which it is the module that it was made from.
    """

    def __init__(self, children: Mapping[str, Any], graph: fx.Graph, result: Any) -> None:
        super().__init__()
        holder = fx.GraphModule(dict(children), graph)
        for path, child in holder.named_children():
            self.add_module(path, child)
        for path, weight in holder.named_parameters(recurse=False):
            self.register_parameter(path, weight)
        for path, buffer in holder.named_buffers(recurse=False):
            self.register_buffer(path, buffer)
        self._graph = graph
        self._result = result
        self.bounds = Bounds()

    def forward(self, **kwargs: Any) -> Any:
        """Return what the module returns that this was made from."""
        tensors = [
            tensor
            for name, argument in kwargs.items()
            for _, tensor in tensor_leaves(argument, name)
        ]
        interpreter = fx.Interpreter(self, graph=self._graph)
        results = iter(interpreter.run(*tensors, enable_io_processing=False))
        return map_tensors(lambda *_: next(results), self._result)
