"""A module with another forward than its class gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Signature
from types import MappingProxyType
from typing import Any

from torch import nn

__all__ = ["override_forward", "subclass_with_forward"]


def subclass_with_forward(
    kind: type[Any],
    forward: Callable[..., Any],
    signature: Signature,
    name: str | None = None,
    attributes: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Return a subclass of the module class `kind`, by default of its name, with another forward.

    `signature` is what `inspect` shows of it, `self` included.
    """
    forward.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect
    return type(name or kind.__name__, (kind,), {**attributes, "forward": forward})


def override_forward(module: nn.Module, forward: Callable[..., Any], signature: Signature) -> None:
    """Give `module` another forward, in place; see `subclass_with_forward`."""
    module.__class__ = subclass_with_forward(type(module), forward, signature)
