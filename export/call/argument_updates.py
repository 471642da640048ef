"""Arguments that forward writes into: what they hold after the call is a result of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.argument_names import holds_data, holds_state
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.override_forward import override_forward
from edgernn.export.capture.preserve_state import preserve_state, same_content
from edgernn.export.capture.pytree import ResultWithUpdates, map_tensors, tensor_leaves

__all__ = ["ArgumentUpdates", "find_argument_updates", "return_argument_updates", "return_updates"]

_Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class ArgumentUpdates:
    """What forward writes into its arguments.

    Attributes:
        paths: The paths of the tensors that it writes into.
        states: Those that are memory → the path in forward's result of the same tensor, or their
            own path where forward does not return it.
    """

    paths: tuple[str, ...]
    states: Mapping[str, str]


def return_argument_updates(module: nn.Module, example: ExampleCall) -> Mapping[str, str]:
    """Let forward return what it writes into its arguments, in place; see `return_updates`.

    Returns:
        Path of an argument that is memory → path of its next value in the result.
    """
    try:
        updates = find_argument_updates(module, example)
    except Exception:
        return {}  # forward does not run at these sizes; what does is found out later
    if updates.paths:
        return_updates(module, updates)
    return updates.states


def find_argument_updates(module: nn.Module, example: ExampleCall) -> ArgumentUpdates:
    """Run forward and return what it writes into its arguments.

    An argument is memory if it is called like a state, or if its new value depends on the others;
    forward's first argument, one called like data and one with steps are data that forward changes
    in place, as by `x -= mean`.
    """
    before = {leaf.path: leaf.tensor for leaf in example.tensors}
    after, result = _after(module, before, example)
    paths = [path for path, tensor in after.items() if not same_content(tensor, before[path])]
    places = {id(tensor): place for place, tensor in tensor_leaves(result)}
    first = next(iter(example.kwargs), "")
    states: dict[str, str] = {}
    for leaf in example.tensors:
        name = leaf.path.partition("[")[0]
        dynamic = {size for size in leaf.shape if isinstance(size, str)}
        if leaf.path not in paths or dynamic - {BATCH}:
            continue
        data = name == first or holds_data(leaf.path)
        if holds_state(leaf.path) or (
            not data and _reads_others(module, example, leaf.path, after)
        ):
            states[leaf.path] = places.get(id(after[leaf.path]), leaf.path)
    return ArgumentUpdates(tuple(paths), states)


def _reads_others(module: nn.Module, example: ExampleCall, path: str, after: _Tensors) -> bool:
    """Return whether what forward writes into an argument depends on the other arguments."""
    others = {
        leaf.path: 2 * rolled + 0.25 if rolled.is_floating_point() else rolled
        for leaf in example.tensors
        for rolled in (leaf.tensor.flatten().roll(1).view_as(leaf.tensor),)
        if leaf.path != path
    }
    try:
        changed, _ = _after(module, others, example)
    except Exception:
        return False
    return not same_content(changed[path], after[path])


def _after(
    module: nn.Module, tensors: _Tensors, example: ExampleCall
) -> tuple[dict[str, torch.Tensor], Any]:
    """Return what the arguments hold after a call, by path, and what it returned."""
    copied = example.with_tensors(tensors).kwargs
    kwargs = map_tensors(lambda _, tensor: tensor.clone(), dict(copied))
    with torch.no_grad(), preserve_state(module):
        result = module(**kwargs)
    held = dict(leaf for name, tree in kwargs.items() for leaf in tensor_leaves(tree, name))
    return held, result


def return_updates(module: nn.Module, updates: ArgumentUpdates) -> None:
    """Let forward of `module` write into copies, and return those that are memory, in place.

    What forward returns itself keeps its path; what it does not return comes after that, under the
    paths of the arguments.
    """
    kind = type(module)
    signature = inspect.signature(kind.forward)
    unreturned = [path for path, place in updates.states.items() if path == place]

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        given = dict([*bound.arguments.items()][1:])
        copied = {name: map_tensors(_copy, value, name) for name, value in given.items()}
        bound.arguments.update(copied)
        result = kind.forward(*bound.args, **bound.kwargs)
        if not unreturned:
            return result
        held = dict(leaf for name, tree in copied.items() for leaf in tensor_leaves(tree, name))
        return ResultWithUpdates(result, {path: held[path] for path in unreturned})

    def _copy(path: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone() if path in updates.paths else tensor

    override_forward(module, forward, signature)
