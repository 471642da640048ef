"""An index that is a tensor of one integer, as of a ring buffer: traced for any of its values.

ring[:, place]          torch would read the integer, which a trace cannot
ring[:, place] = x      the same
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["read_element", "write_element"]


def read_element(x: torch.Tensor, index: Any) -> Any:
    """Return `x[index]`, or NotImplemented where no part of the index is one integer's tensor."""
    parts = _parts(index)
    found = _element_axes(x, parts)
    if not found:
        return NotImplemented
    for place, axis in found:
        x = x.index_select(axis, _positive(parts[place], x.shape[axis]).reshape(1))
        parts[place] = 0
    return x[tuple(parts)]


def write_element(x: torch.Tensor, index: Any, value: Any) -> Any:
    """Do `x[index] = value`, or return NotImplemented where it is not one entry along one axis."""
    parts = _parts(index)
    found = _element_axes(x, parts)
    others = [part for place, part in enumerate(parts) if place not in [one for one, _ in found]]
    if len(found) != 1 or any(part not in (slice(None), Ellipsis) for part in others):
        return NotImplemented
    ((place, axis),) = found
    size = x.shape[axis]
    shape = [1] * x.dim()
    shape[axis] = size
    chosen = torch.arange(size).reshape(shape) == _positive(parts[place], size)
    written = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=x.dtype)
    if written.dim():
        written = written.expand_as(x.select(axis, 0)).unsqueeze(axis)
    x.copy_(torch.where(chosen, written.to(x.dtype), x))
    return None


def _parts(index: Any) -> list[Any]:
    return list(index) if isinstance(index, tuple) else [index]


def _positive(place: torch.Tensor, size: Any) -> torch.Tensor:
    return torch.where(place < 0, place + size, place)


def _element_axes(x: torch.Tensor, parts: Sequence[Any]) -> list[tuple[int, int]]:
    """Return place and axis of each part of an index that is a tensor of one integer.

    Nothing where another part is a tensor or a list: torch then treats them together.
    """
    others = (slice, int, type(None), type(Ellipsis))
    if not all(isinstance(one, others) or _is_element(one) for one in parts):
        return []
    indexed = sum(one is not None and one is not Ellipsis for one in parts)
    found, axis = [], 0
    for place, one in enumerate(parts):
        if one is Ellipsis:
            axis += x.dim() - indexed
            continue
        if _is_element(one):
            found.append((place, axis))
        axis += one is not None
    return found


def _is_element(part: Any) -> bool:
    return (
        isinstance(part, torch.Tensor)
        and part.dim() == 0
        and not part.is_floating_point()
        and part.dtype != torch.bool
    )
