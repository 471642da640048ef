"""Forward in torch.export's graph, as a function of tensors.

The graph takes the tensors of the arguments in order, and returns those of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from edgernn.axis_sizes import evaluate_size
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.pytree import map_tensors, tensor_leaves

__all__ = ["check_derived_axes", "export_forward", "export_function", "result_paths"]

_Mode = Callable[[Sequence[torch.Tensor]], AbstractContextManager[Any]]


def export_forward(
    module: nn.Module, example: ExampleCall, mode: _Mode, dim: Callable[[str], Any]
) -> ExportedProgram:
    """Return torch.export's graph of one call of forward.

    `mode` returns what forward runs within, from its tensors; `dim` returns the `torch.export.Dim`
    of a dynamic axis, from its name.
    """
    return export_function(_TensorFunction(module, example, mode), example, dim)


def export_function(
    function: nn.Module, example: ExampleCall, dim: Callable[[str], Any]
) -> ExportedProgram:
    """Return torch.export's graph of a function of the tensors of a call's arguments."""
    dynamic = tuple(
        {axis: dim(size) for axis, size in enumerate(leaf.shape) if isinstance(size, str)}
        for leaf in example.tensors
    )
    tensors = tuple(leaf.tensor.clone() for leaf in example.tensors)  # equal ones are one input
    return torch.export.export(function, tensors, dynamic_shapes=(dynamic,), strict=False)


def result_paths(program: ExportedProgram) -> list[str]:
    """Return the path of each of a graph's results in what forward returned."""
    spec: Any = program.call_spec.out_spec
    return list(spec.context)


class _TensorFunction(nn.Module):
    """A module whose forward takes the tensors of the arguments and returns those of the result."""

    def __init__(self, module: nn.Module, example: ExampleCall, mode: _Mode) -> None:
        super().__init__()
        self.module = module
        self._example = example
        self._mode = mode

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the module; returns the tensors of its result by path."""
        check_derived_axes(self._example, tensors)
        given = iter(tensors)
        kwargs = map_tensors(lambda *_: next(given), dict(self._example.kwargs))
        with self._mode(tensors):
            return dict(tensor_leaves(self.module(**kwargs)))


def check_derived_axes(example: ExampleCall, tensors: Sequence[torch.Tensor]) -> None:
    """Raise ValueError where a size does not follow from others as the example says.

    From this torch knows how they depend on one another.
    """
    given = {leaf.path: tensor for leaf, tensor in zip(example.tensors, tensors, strict=True)}
    known = {
        size: given[leaf.path].shape[axis]
        for leaf in example.tensors
        for axis, size in enumerate(leaf.shape)
        if isinstance(size, str) and size.isidentifier()
    }
    for (path, axis), size in example.derived_axes.items():
        if given[path].shape[axis] != evaluate_size(size, known):
            raise ValueError(f"axis {axis} of `{path}` is not {size}")
