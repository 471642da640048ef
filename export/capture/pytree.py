"""The tensors in a call's arguments and in what it returns, each with its path.

A path reads like Python after the argument's name: `hx[0]`, `[1][0]`, `["logits"]`, `.logits`.
A PackedSequence is one tensor: padded, and laid out as what was packed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

__all__ = ["ResultWithUpdates", "map_tensors", "mark_layout", "packed_paths", "tensor_leaves"]

_LAYOUT = "edgernn_batch_first"


@dataclasses.dataclass(frozen=True)
class ResultWithUpdates:
    """What forward returned, and what it wrote into arguments that it did not return.

    Attributes:
        result: What it returned.
        updates: Path of an argument → what that holds after the call.
    """

    result: Any
    updates: Mapping[str, torch.Tensor]


def mark_layout(batch_sizes: torch.Tensor, batch_first: bool) -> None:
    """Note on the `batch_sizes` of a PackedSequence how what was packed is laid out."""
    setattr(batch_sizes, _LAYOUT, batch_first)


def packed_paths(tree: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every PackedSequence."""
    if isinstance(tree, PackedSequence):
        yield path
    elif not isinstance(tree, torch.Tensor):
        for key, branch in _branches(tree):
            yield from packed_paths(branch, path + key)


def tensor_leaves(tree: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the path and tensor of every leaf; other values are left out."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
        return
    if isinstance(tree, PackedSequence):
        yield path, pad_packed_sequence(tree, getattr(tree.batch_sizes, _LAYOUT, False))[0]
        return
    for key, branch in _branches(tree):
        yield from tensor_leaves(branch, path + key)


def map_tensors(
    change: Callable[[str, torch.Tensor], torch.Tensor], tree: Any, path: str = ""
) -> Any:
    """Return `tree` with each tensor replaced by `change(path, tensor)`."""
    if isinstance(tree, torch.Tensor):
        return change(path, tree)
    if isinstance(tree, PackedSequence):
        return change(path, tree.data)
    branches = [map_tensors(change, branch, path + key) for key, branch in _branches(tree)]
    if isinstance(tree, ResultWithUpdates):
        return ResultWithUpdates(branches[0], dict(zip(tree.updates, branches[1:], strict=True)))
    if isinstance(tree, dict):
        return dict(zip(tree, branches, strict=True))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*branches)
    if isinstance(tree, (tuple, list)):
        return type(tree)(branches)
    return tree


def _branches(tree: Any) -> list[tuple[str, Any]]:
    if isinstance(tree, ResultWithUpdates):
        return [("", tree.result), *tree.updates.items()]
    if isinstance(tree, dict):
        return [(f'["{key}"]', branch) for key, branch in tree.items()]
    if isinstance(tree, tuple) and (fields := getattr(tree, "_fields", None)) is not None:
        return [(f".{field}", getattr(tree, field)) for field in fields]
    if isinstance(tree, (tuple, list)):
        return [(f"[{index}]", branch) for index, branch in enumerate(tree)]
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [(f".{field.name}", getattr(tree, field.name)) for field in dataclasses.fields(tree)]
    return []
