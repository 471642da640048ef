"""Arguments of the type that forward's annotations name: lists, named tuples, dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from edgernn.export.capture.pytree import tensor_leaves

__all__ = ["as_annotated"]

_Shapes = Mapping[str, tuple[int | str, ...]]


def as_annotated(
    module: nn.Module, kwargs: Mapping[str, Any], shapes: _Shapes
) -> tuple[dict[str, Any], dict[str, tuple[int | str, ...]]]:
    """Return arguments given as nested tuples and dicts in the containers that forward names.

    Args:
        module: The model.
        kwargs: forward's arguments by name.
        shapes: Path of a tensor in them → its shape.

    Returns:
        The same, and the shapes under the paths that the tensors then have.
    """
    try:
        hints = typing.get_type_hints(module.forward)
    except Exception:  # names that only a type checker knows
        hints = {}
    made = {name: _with_type(value, hints.get(name)) for name, value in kwargs.items()}
    renamed = {
        old: new
        for name in kwargs
        for (old, _), (new, _) in zip(
            tensor_leaves(kwargs[name], name), tensor_leaves(made[name], name), strict=True
        )
    }
    return made, {renamed.get(path, path): shape for path, shape in shapes.items()}


def _with_type(value: Any, hint: Any) -> Any:
    """Return `value` as `hint` has it, as far as that is a container of as many values."""
    arguments = [one for one in typing.get_args(hint) if one is not type(None)]
    if type(None) in typing.get_args(hint) and len(arguments) == 1:
        return _with_type(value, arguments[0])  # Optional[…]
    if isinstance(value, dict):
        inner = arguments[1] if len(arguments) == 2 else None
        made = {key: _with_type(one, inner) for key, one in value.items()}
        fields = _fields(hint)
        return hint(**made) if fields and set(made) <= set(fields) else made
    if not isinstance(value, tuple):
        return value
    fields = _fields(hint)
    if fields and len(value) <= len(fields):
        hints = typing.get_type_hints(hint)
        return hint(*(_with_type(one, hints.get(fields[place])) for place, one in enumerate(value)))
    if typing.get_origin(hint) in (list, Sequence) or hint is list:
        return [_with_type(one, arguments[0] if arguments else None) for one in value]
    if Ellipsis in arguments:
        return tuple(_with_type(one, arguments[0]) for one in value)
    known = arguments if len(arguments) == len(value) else [None] * len(value)
    return tuple(map(_with_type, value, known))


def _fields(hint: Any) -> Sequence[str]:
    """Return the fields of a named tuple or a dataclass; nothing of any other type."""
    if dataclasses.is_dataclass(hint):
        return [field.name for field in dataclasses.fields(hint)]
    return getattr(hint, "_fields", ()) if isinstance(hint, type) else ()
