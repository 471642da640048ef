"""A module with another forward than its class gives it, and arguments that are given by place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from edgernn.export.call.input_spec import parse_spec

__all__ = [
    "call_by_position",
    "name_positional_arguments",
    "override_forward",
    "subclass_with_forward",
]


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


def call_by_position(module: nn.Module) -> None:
    """Let `module` be called by name where only a call by place is right; in place.

    That is where hooks look at the arguments of a call, and where the arguments of `__call__` are
    not those of forward.
    """
    kind: Any = type(module)
    hooks = [*module._forward_pre_hooks, *module._forward_hooks]
    if not hooks and kind.__call__ is nn.Module.__call__:
        return
    signature = inspect.signature(module.forward)

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return kind.__call__(self, *args, **kwargs)
        return kind.__call__(self, *bound.args, **bound.kwargs)

    attributes = {"__call__": call, "__module__": kind.__module__}
    module.__class__ = type(kind.__name__, (kind,), attributes)


def name_positional_arguments(module: nn.Module, inputs: Any) -> None:
    """Give names to what forward takes as `*args`; in place.

    `inputs` are forward's arguments as the user gave them, see `example_from`, or None.
    """
    kind: Any = type(module)
    parameters = inspect.signature(module.forward).parameters.values()
    if all(one.kind is not Parameter.VAR_POSITIONAL for one in parameters):
        return
    given = [one for one in parameters if one.kind is Parameter.POSITIONAL_OR_KEYWORD]
    names = [name for name in _names(inputs, len(given)) if name not in {p.name for p in given}]
    if not names:
        return
    named = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    others = [p for p in parameters if p.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)]
    signature = Signature([*given, *named, *others])

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        return kind.forward(self, *bound.args, **bound.kwargs)

    own = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    override_forward(module, forward, Signature([own, *given, *named, *others]))


def _names(inputs: Any, known: int) -> Sequence[str]:
    """Return what the arguments are called, with those that have names already."""
    if isinstance(inputs, Mapping):
        return list(inputs)
    if inputs is None or isinstance(inputs, torch.Tensor) or not len(inputs):
        return ["input"][known:]
    inputs = (inputs,) if isinstance(inputs, str) else inputs
    if any(isinstance(one, str) for one in inputs):
        return list(dict.fromkeys(parse_spec(str(one)).path.partition("[")[0] for one in inputs))
    more = range(len(inputs) - known)
    return ["input"] if len(more) == 1 else [f"input_{place}" for place in more]
