"""A module left as it was found, whatever its forward keeps on it."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["preserve_state", "same_content"]

_DEPTH = 6

# Every tensor that was kept → its version and what it held then
_COPIES: Any = WeakIdKeyDictionary()

_REGISTERED = ("_parameters", "_buffers", "_modules")


@contextlib.contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Put the attributes of `module` and its parts back to what they were before the block.

    A forward that keeps its state on the module, as `_, self.hidden = self.rnn(x, self.hidden)`
    does, starts every run from the state that the module came with. So does one that registers a
    weight of its layer anew, as weight drop does. What is written into a buffer, a tensor, a list
    or a dict that the module holds is put back too; parameters are not copied.
    """
    python = [one for one in module.modules() if not isinstance(one, torch.jit.ScriptModule)]
    before = [
        (part, dict(vars(part)), {table: dict(vars(part)[table]) for table in _REGISTERED})
        for part in python
    ]
    contents = [
        _kept(value)
        for _, attributes, tables in before
        for value in (*_own(attributes).values(), *tables["_buffers"].values())
    ]
    try:
        yield
    finally:
        for part, attributes, tables in before:
            vars(part).clear()
            vars(part).update(attributes)
            for table, entries in tables.items():
                vars(part)[table].clear()
                vars(part)[table].update(entries)
        for put_back in filter(None, contents):
            put_back()


def _own(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that are not torch's own tables of parameters, buffers and hooks."""
    return {name: value for name, value in attributes.items() if name not in _TABLES}


_TABLES = frozenset(vars(nn.Module()))


def _kept(value: Any, depth: int = _DEPTH) -> Callable[[], None] | None:
    """Return what puts the content of `value` back, or None where it cannot change."""
    if isinstance(value, torch.Tensor):
        return None if isinstance(value, nn.Parameter) else _kept_tensor(value)
    if not depth or isinstance(value, _FIXED):
        return None
    if isinstance(value, (list, deque)):
        return _kept_items(value, depth)
    if isinstance(value, dict):
        return _kept_entries(value, depth)
    if isinstance(value, tuple):
        return _together(value, depth)
    foreign = type(value).__module__.partition(".")[0] in _LIBRARIES
    return None if foreign or not hasattr(value, "__dict__") else _kept_entries(vars(value), depth)


_FIXED = (str, bytes, int, float, complex, type, nn.Module, FunctionType, MethodType, ModuleType)
_LIBRARIES = {*sys.stdlib_module_names, "torch", "numpy"}

# Larger tables, such as vocabularies, keep their entries, not what these hold
_LARGE = 4096


def _kept_tensor(tensor: torch.Tensor) -> Callable[[], None]:
    version, copy = _COPIES.get(tensor, (None, None))
    if version != tensor._version:
        copy = tensor.detach().clone()
        _COPIES[tensor] = tensor._version, copy
    assert copy is not None

    def put_back() -> None:
        if same_content(tensor, copy):
            return
        with torch.no_grad():
            if tensor.shape == copy.shape and tensor.dtype == copy.dtype:
                tensor.copy_(copy)
            else:
                tensor.data = copy.clone()
        _COPIES[tensor] = tensor._version, copy

    return put_back


def _kept_items(values: list[Any] | deque[Any], depth: int) -> Callable[[], None]:
    items = list(values)
    inner = _together(items, depth)

    def put_back() -> None:
        if len(values) != len(items) or any(a is not b for a, b in zip(values, items, strict=True)):
            values.clear()
            values.extend(items)
        inner()

    return put_back


def _kept_entries(values: dict[str, Any], depth: int) -> Callable[[], None]:
    entries = dict(values)
    inner = _together(entries.values(), depth)

    def put_back() -> None:
        values.clear()
        values.update(entries)
        inner()

    return put_back


def _together(values: Collection[Any], depth: int) -> Callable[[], None]:
    parts = [_kept(one, depth - 1) for one in values] if len(values) <= _LARGE else []
    changing = [part for part in parts if part is not None]

    def put_back() -> None:
        for part in changing:
            part()

    return put_back


def same_content(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are of one shape and dtype and hold the same numbers."""
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and (
            torch.equal(one, other)
            or (
                one.is_floating_point()
                and torch.equal(one.isnan(), other.isnan())
                and torch.equal(one.nan_to_num(), other.nan_to_num())
            )
        )
    )
