"""The numbers in the value of an attribute: read, each with its path, and replaced.

A path reads like Python: `hidden[0]`, `cache["k"]`, `kept.last`.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgernn.export.capture.preserve_state import fields_of

__all__ = ["Leaf", "leaves_of", "map_leaves", "owners_of", "shape_of", "with_leaves"]

Leaf = torch.Tensor | bool | int | float
"""A number: a tensor that is not a parameter, or a number of Python's."""

_MAX_DEPTH = 6
_LARGE = 4096
"""Tables with more entries, such as vocabularies, hold no memory."""


def leaves_of(value: Any, path: str, depth: int = _MAX_DEPTH) -> Iterator[tuple[str, Leaf]]:
    """Yield the path and value of every number in `value`."""
    if isinstance(value, nn.Parameter):
        return
    if isinstance(value, (torch.Tensor, bool, int, float)):
        yield path, value
        return
    for key, branch in _branches(value, depth):
        yield from leaves_of(branch, path + key, depth - 1)


def map_leaves(
    change: Callable[[str, Leaf], Any], value: Any, path: str, depth: int = _MAX_DEPTH
) -> Any:
    """Return a copy of `value` with each number replaced by `change(path, number)`.

    Containers and objects that hold no number are the same ones in the copy.
    """
    if isinstance(value, nn.Parameter):
        return value
    if isinstance(value, (torch.Tensor, bool, int, float)):
        return change(path, value)
    branches = [
        map_leaves(change, branch, path + key, depth - 1) for key, branch in _branches(value, depth)
    ]
    if isinstance(value, dict):
        copied = copy.copy(value)
        copied.update(zip(value, branches, strict=True)) if branches else None
        return copied
    if isinstance(value, deque):
        return deque(branches, value.maxlen) if branches else copy.copy(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*branches)
    if isinstance(value, (tuple, list)):
        return type(value)(branches) if branches else copy.copy(value)
    if branches:
        copied = copy.copy(value)
        vars(copied).update(zip(vars(value), branches, strict=True))
        return copied
    return value


def with_leaves(values: Mapping[str, Any], leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the values of attributes with some of their numbers replaced, by path."""
    return {
        name: map_leaves(lambda path, leaf: leaves.get(path, leaf), value, name)
        for name, value in values.items()
    }


def owners_of(values: Mapping[str, Any], paths: Sequence[str]) -> list[str]:
    """Return the attributes that hold some numbers."""
    return [name for name in values if any(_is_part(path, name) for path in paths)]


def shape_of(leaf: Leaf) -> tuple[int, ...]:
    """Return the shape of a number; a number of Python's has no axes."""
    return tuple(leaf.shape) if isinstance(leaf, torch.Tensor) else ()


def _is_part(path: str, attribute: str) -> bool:
    return path == attribute or (path.startswith(attribute) and path[len(attribute)] in ".[")


def _branches(value: Any, depth: int) -> list[tuple[str, Any]]:
    """Return the parts of a container or of an object of the model's own, with their keys."""
    if not depth or isinstance(value, (type, nn.Module)):
        return []
    if isinstance(value, dict):
        keyed = [(f"[{key!r}]".replace("'", '"'), branch) for key, branch in value.items()]
    elif isinstance(value, tuple) and (names := getattr(value, "_fields", None)) is not None:
        keyed = [(f".{name}", getattr(value, name)) for name in names]
    elif isinstance(value, (tuple, list, deque)):
        keyed = [(f"[{place}]", branch) for place, branch in enumerate(value)]
    else:
        fields = fields_of(value)
        keyed = [] if fields is None else [(f".{name}", one) for name, one in fields.items()]
    return keyed if len(keyed) <= _LARGE else []
