"""Arguments that forward takes by their places: those of `*args`, and those that hooks see."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgernn.export.call.input_spec import parse_spec
from edgernn.export.capture.override_forward import override_forward

__all__ = ["call_by_position", "name_positional_arguments"]


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

    module.__class__ = type(
        kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__}
    )


def name_positional_arguments(module: nn.Module, inputs: Any) -> None:
    """Give names to what forward takes as `*args`; in place.

    Args:
        module: The model.
        inputs: forward's arguments as the user gave them, see `example_from`, or None.
    """
    kind: Any = type(module)
    parameters = inspect.signature(module.forward).parameters.values()
    if all(one.kind is not inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return
    given = [one for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    names = [name for name in _names(inputs, len(given)) if name not in {p.name for p in given}]
    if not names:
        return
    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    others = [one for one in parameters if one.kind in _OTHERS]
    signature = inspect.Signature([*given, *named, *others])

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        return kind.forward(self, *bound.args, **bound.kwargs)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    override_forward(module, forward, inspect.Signature([own, *given, *named, *others]))


_OTHERS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)


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
