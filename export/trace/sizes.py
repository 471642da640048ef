"""`len(tensor)` in forward while it is traced: a size that may be dynamic, not a number."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["dynamic_len"]


@contextlib.contextmanager
def dynamic_len(module: nn.Module) -> Iterator[None]:
    """Let `len` in the code of the model give the size of a tensor's first axis as it is traced.

    Python's own makes a number of it, which would fix the axis at the example's size.
    """
    scopes = {id(scope): scope for part in module.modules() if (scope := _globals(part))}
    changed = [scope for scope in scopes.values() if "len" not in scope]
    for scope in changed:
        scope["len"] = _len
    try:
        yield
    finally:
        for scope in changed:
            del scope["len"]


def _globals(part: nn.Module) -> dict[str, Any]:
    kind = type(part)
    if kind.__module__.startswith("torch."):
        return {}
    found: dict[str, Any] = getattr(kind.forward, "__globals__", {})
    return found


def _len(value: Any) -> Any:
    return value.shape[0] if isinstance(value, torch.Tensor) and value.dim() else len(value)
