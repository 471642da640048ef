"""The attributes and buffers of a module and its parts, as values that can be compared."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import nn

from edgernn.export.capture.preserve_state import MAX_DEPTH, TABLES, fields_of, same_content

__all__ = ["attributes_of", "same_value", "set_attribute", "snapshot"]


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """Return the attributes and buffers of all parts by their paths, such as `encoder.hidden`."""
    return {
        f"{path}.{name}" if path else name: value
        for path, part in module.named_modules()
        for name, value in (*vars(part).items(), *part._buffers.items())
        if name not in TABLES
    }


def set_attribute(module: nn.Module, path: str, value: Any) -> None:
    """Give an attribute or buffer, by its path, a value of any kind."""
    owner, _, name = path.rpartition(".")
    part = module.get_submodule(owner)
    table = part._buffers if name in part._buffers else vars(part)
    table[name] = value


def snapshot(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return `value` as it is now: tensors copied, containers and objects as lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone() if not isinstance(value, nn.Parameter) else value
    if not depth or isinstance(value, (type, nn.Module)):
        return value
    if isinstance(value, (list, tuple, deque)):
        return [snapshot(one, depth - 1) for one in value]
    fields = value if isinstance(value, dict) else fields_of(value)
    if fields is None:
        return value
    return {key: snapshot(one, depth - 1) for key, one in fields.items()}


def same_value(one: Any, other: Any) -> bool:
    """Return whether two snapshots are the same."""
    if one is other:
        return True
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return same_content(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False
