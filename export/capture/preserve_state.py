"""A module that is left as it was found, whatever its forward writes to it."""

from __future__ import annotations

import contextlib
import operator
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["MAX_DEPTH", "TABLES", "fields_of", "preserve_state", "same_content"]

TABLES = frozenset(vars(nn.Module()))
"""The attributes of every module: torch's tables of parameters, buffers, hooks and the like."""

MAX_DEPTH = 6
"""How deep the values of attributes are looked into."""

# Larger tables, such as vocabularies, keep their entries, not what these hold.
_LARGE = 4096

_LIBRARIES = {*sys.stdlib_module_names, "torch", "numpy"}
_REGISTERED = ("_parameters", "_buffers", "_modules")

# Every tensor that was copied → its version and what it held then.
_COPIES: Any = WeakIdKeyDictionary()


@contextlib.contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Put the attributes of `module` and its parts back to what they were before the block.

    A forward that keeps its state on the module, as `_, self.hidden = self.rnn(x, self.hidden)`
    does, starts every run from the state that the module came with. So does one that registers a
    weight of its layer anew, as weight drop does. What is written into a buffer, a tensor, a list
    or a dict that the module holds is put back too; parameters are not copied.
    """
    before = [
        (part, dict(vars(part)), {table: dict(vars(part)[table]) for table in _REGISTERED})
        for part in module.modules()
        if not isinstance(part, torch.jit.ScriptModule)
    ]
    contents = [
        (one, _content(one))
        for _, attributes, tables in before
        for name, value in (*attributes.items(), *tables["_buffers"].items())
        if name not in TABLES
        for one in _mutable_values(value)
    ]
    try:
        yield
    finally:
        for part, attributes, tables in before:
            _refill(vars(part), attributes)
            for table, entries in tables.items():
                _refill(vars(part)[table], entries)
        for value, content in contents:
            _restore(value, content)


def fields_of(value: Any) -> dict[str, Any] | None:
    """Return the attributes of an object whose class is the model's own; None of any other."""
    own = type(value).__module__.partition(".")[0] not in _LIBRARIES
    return vars(value) if own and hasattr(value, "__dict__") else None


def _mutable_values(value: Any, depth: int = MAX_DEPTH) -> Iterator[Any]:
    """Yield the tensors, lists and dicts that `value` is or holds, but for parameters."""
    if isinstance(value, torch.Tensor):
        if not isinstance(value, nn.Parameter):
            yield value
        return
    if not depth or isinstance(value, (type, nn.Module)):
        return
    held = value if isinstance(value, (list, deque, dict, tuple)) else fields_of(value)
    if held is None:
        return
    if not isinstance(held, tuple):
        yield held
    if len(held) <= _LARGE:
        for one in held.values() if isinstance(held, dict) else held:
            yield from _mutable_values(one, depth - 1)


def _content(value: Any) -> Any:
    """Return a copy of what a tensor, list or dict holds."""
    if not isinstance(value, torch.Tensor):
        return dict(value) if isinstance(value, dict) else list(value)
    version, content = _COPIES.get(value, (None, None))
    if version != value._version:
        content = value.detach().clone()
        _COPIES[value] = value._version, content
    return content


def _restore(value: Any, content: Any) -> None:
    """Let a tensor, list or dict hold `content` again."""
    if isinstance(value, dict):
        _refill(value, content)
    elif not isinstance(value, torch.Tensor):
        if len(value) != len(content) or any(map(operator.is_not, value, content)):
            value.clear()
            value.extend(content)
    elif not same_content(value, content):
        with torch.no_grad():
            if value.shape == content.shape and value.dtype == content.dtype:
                value.copy_(content)
            else:
                value.data = content.clone()
        _COPIES[value] = value._version, content


def _refill(table: dict[str, Any], entries: dict[str, Any]) -> None:
    table.clear()
    table.update(entries)


def same_content(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors have the same shape, dtype and values, NaN equal to NaN."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    return torch.equal(one, other) or (
        one.is_floating_point()
        and torch.equal(one.isnan(), other.isnan())
        and torch.equal(one.nan_to_num(), other.nan_to_num())
    )
