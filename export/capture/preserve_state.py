"""The attributes of a module: put back after a forward that writes to it, and compared."""

from __future__ import annotations

import contextlib
import operator
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

__all__ = [
    "attributes_of",
    "fields_of",
    "preserve_state",
    "same_content",
    "same_value",
    "set_attribute",
    "snapshot",
]

_TABLES = frozenset(vars(nn.Module()))
"""The attributes of every module: torch's tables of parameters, buffers, hooks and the like."""

_MAX_DEPTH = 6
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
        if name not in _TABLES
        for one in _mutable_values(value)
    ]
    scripted = [
        (part, name, buffer.detach().clone())
        for part in module.modules()
        if isinstance(part, torch.jit.ScriptModule)
        for name, buffer in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for script, name, buffer in scripted:
            if not same_content(getattr(script, name), buffer):
                setattr(script, name, buffer.clone())
        for part, attributes, tables in before:
            _refill(vars(part), attributes)
            for table, entries in tables.items():
                _refill(vars(part)[table], entries)
        for value, content in contents:
            _restore(value, content)


def fields_of(value: Any) -> dict[str, Any] | None:
    """Return the attributes of a namespace or of an object of the model's own; None of others."""
    own = type(value).__module__.partition(".")[0] not in _LIBRARIES
    own = own or isinstance(value, (SimpleNamespace, Namespace))
    return vars(value) if own and hasattr(value, "__dict__") else None


def _mutable_values(value: Any, depth: int = _MAX_DEPTH) -> Iterator[Any]:
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


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """Return the attributes and buffers of all parts by their paths, such as `encoder.hidden`."""
    return {
        f"{path}.{name}" if path else name: value
        for path, part in module.named_modules()
        for name, value in (*vars(part).items(), *part._buffers.items())
        if name not in _TABLES
    }


def set_attribute(module: nn.Module, path: str, value: Any) -> None:
    """Give an attribute or buffer, by its path, a value of any kind."""
    owner, _, name = path.rpartition(".")
    part = module.get_submodule(owner)
    table = part._buffers if name in part._buffers else vars(part)
    table[name] = value


def snapshot(value: Any, depth: int = _MAX_DEPTH) -> Any:
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
