"""A module as a function of tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from edgernn.axis_sizes import evaluate_size
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.pytree import map_tensors, tensor_leaves

__all__ = ["Flat"]


class Flat(nn.Module):
    """A module whose forward takes the leaves of the arguments and returns those of the result.

    Args:
        module: The module.
        example: The arguments that the leaves are put into.
        note_paths: Is told the path of each result in what the module returned.
        within: Makes, from the leaves, what forward runs within.
    """

    def __init__(
        self,
        module: nn.Module,
        example: ExampleCall,
        note_paths: Callable[[Sequence[str]], Any],
        within: Callable[[Sequence[torch.Tensor]], AbstractContextManager[Any]],
    ) -> None:
        super().__init__()
        self.module = module
        self._example = example
        self._within = within
        self._note_paths = note_paths

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the module."""
        _check_tied(self._example, tensors)
        given = iter(tensors)
        kwargs = map_tensors(lambda *_: next(given), dict(self._example.kwargs))
        with self._within(tensors):
            result = dict(tensor_leaves(self.module(**kwargs)))
        self._note_paths(list(result))
        return tuple(result.values())


def _check_tied(example: ExampleCall, tensors: Sequence[torch.Tensor]) -> None:
    """Raise ValueError where a size does not follow from others as the example says.

    While torch traces, this is what it knows of how they depend on one another.
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
