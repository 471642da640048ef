"""Calls of a module from memory of any value, to find out what it remembers and what that does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgernn.export.call.argument_names import LENGTH_NAMES
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_quietly
from edgernn.export.capture.preserve_state import (
    attributes_of,
    preserve_state,
    same_content,
    set_attribute,
)
from edgernn.export.capture.pytree import tensor_leaves
from edgernn.export.streaming.attribute_leaves import Leaf, leaves_of, map_leaves

__all__ = ["Call", "MemoryProbe", "Values", "same_leaf", "same_results", "vary"]

Values = Mapping[str, Any]
"""Path of an attribute → its value; an attribute that is left out is as the module has it."""


@dataclass(frozen=True)
class Call:
    """One call of forward.

    Attributes:
        results: The tensors that it returned, by path.
        after: What the attributes held after it.
    """

    results: Mapping[str, torch.Tensor]
    after: Values

    @property
    def leaves(self) -> dict[str, Leaf]:
        """The numbers in the attributes after the call, by path."""
        return {
            path: leaf
            for name, value in self.after.items()
            for path, leaf in leaves_of(value, name)
        }


@dataclass(frozen=True)
class MemoryProbe:
    """Calls a module with some of its attributes at other values, and puts all back.

    Attributes:
        module: The model.
        names: The paths of the attributes that are read after every call.
    """

    module: nn.Module
    names: Collection[str]

    def call(
        self,
        example: ExampleCall,
        values: Values,
        within: Callable[[], Any] | None = None,
    ) -> Call:
        """Call forward once from `values`; `within` makes a context that it runs in."""
        with torch.no_grad(), preserve_state(self.module):
            for path, value in values.items():
                set_attribute(self.module, path, _copy(value, path))
            with within() if within is not None else contextlib.nullcontext():
                result = run_quietly(self.module, example)
            held = attributes_of(self.module)
            after = {name: _copy(held[name], name) for name in self.names if name in held}
            results = {path: tensor.detach().clone() for path, tensor in tensor_leaves(result)}
        return Call(results, after)

    def calls(self, examples: Sequence[ExampleCall]) -> list[Call]:
        """Call forward several times in a row, from what the module holds."""
        made: list[Call] = []
        for example in examples:
            made.append(self.call(example, made[-1].after if made else {}))
        return made

    def try_call(self, example: ExampleCall, values: Values) -> Call | None:
        """Call forward once from `values`; return None where it fails."""
        try:
            return self.call(example, values)
        except Exception:
            return None


def vary(module: nn.Module, example: ExampleCall, seed: int) -> ExampleCall:
    """Return the example with other numbers of the same kind, or itself where forward fails."""
    generator = torch.Generator().manual_seed(seed)

    def other(path: str, tensor: torch.Tensor) -> torch.Tensor:
        if LENGTH_NAMES.match(path.partition("[")[0]) or path in example.lengths:
            return tensor
        if tensor.dtype == torch.bool:
            return torch.rand(tensor.shape, generator=generator) < 0.5
        if not tensor.is_floating_point():
            return tensor.flatten().roll(seed).view_as(tensor)
        if not tensor.any():
            return torch.randn(tensor.shape, generator=generator) / 2
        return tensor * (torch.rand(tensor.shape, generator=generator) + 0.5)

    varied = example.with_tensors(
        {one.path: other(one.path, one.tensor) for one in example.tensors}
    )
    return example if MemoryProbe(module, ()).try_call(varied, {}) is None else varied


def same_leaf(one: Leaf, other: Leaf) -> bool:
    """Return whether two numbers are the same, NaN equal to NaN."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return same_content(one, other)
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def same_results(one: Call, other: Call) -> bool:
    """Return whether two calls returned the same."""
    return list(one.results) == list(other.results) and all(
        same_leaf(one.results[path], other.results[path]) for path in one.results
    )


def _copy(value: Any, path: str) -> Any:
    """Return a copy of an attribute's value that no call writes into."""
    return map_leaves(
        lambda _, leaf: leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf,
        value,
        path,
    )
