"""The numbers on a module that later results depend on.

The numbers that differ from call to call are changed, one by one: results that then come out
otherwise depend on them. So do numbers that those depend on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import attributes_of
from edgernn.export.streaming.attribute_leaves import Leaf, leaves_of, shape_of, with_leaves
from edgernn.export.streaming.memory_probe import (
    Call,
    MemoryProbe,
    Values,
    same_leaf,
    same_results,
)

__all__ = ["CALLS", "STEADY", "extremes", "live_leaves"]

CALLS = 12
"""Calls in a row, after which what fills up, such as a list of the last frames, is full."""

STEADY = 4
"""The last of them, which must be alike."""

_COUNTS = (1, 2, 3, 7, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024, 10_000)
"""Calls after which a forward that counts them may do something else."""


def live_leaves(
    probe: MemoryProbe, calls: Sequence[Call], data: Sequence[ExampleCall]
) -> Iterator[str]:
    """Yield the paths of the numbers that later results depend on, directly or by others.

    Args:
        probe: The module.
        calls: Calls of it in a row.
        data: The arguments of each call.
    """
    leaves = calls[-2].leaves
    last = [one.leaves for one in calls[-STEADY:]]
    # what has come to rest may depend on data all the same, such as whether a level was ever high
    first = [
        run.leaves for one in extremes(data[-1]) if (run := probe.try_call(one, {})) is not None
    ]
    moving = [
        path
        for path, leaf in leaves.items()
        if not all(path in one and same_leaf(one[path], leaf) for one in last)
        or not all(same_leaf(one[path], first[0][path]) for one in first if path in one)
    ]
    effects: dict[str, set[str]] = {path: set() for path in moving}
    # what one call does not read, the next one may: a value that is kept for two calls
    for before, base, example in zip(calls[-3:-1], calls[-2:], data[-2:], strict=True):
        for path in moving:
            if "" not in effects[path] and path in before.leaves:
                leaf = before.leaves[path]
                others = [*_others(leaf, _step(calls, path)), *_earlier(probe, calls, path)]
                effects[path] |= _effects(probe, before.after, base, example, path, others)
    live = {path for path in moving if "" in effects[path]}
    while more := {path for path in moving if effects[path] & live} - live:
        live |= more
    yield from (path for path in moving if path in live)


def extremes(example: ExampleCall) -> Iterator[ExampleCall]:
    """Yield the example with zeros for its real numbers, with large ones, and negative."""
    for factor in (0, 10, -3, 1000):
        yield example.with_tensors(
            {
                one.path: factor * one.tensor
                for one in example.tensors
                if one.tensor.is_floating_point()
            }
        )


def _effects(
    probe: MemoryProbe,
    values: Values,
    base: Call,
    example: ExampleCall,
    path: str,
    others: Iterable[Leaf],
) -> set[str]:
    """Return the paths of the other numbers that depend on one, and "" where results do.

    Args:
        probe: The module.
        values: The attributes before a call.
        base: The call.
        example: Its arguments.
        path: The path of the number.
        others: What it is changed to.
    """
    found: set[str] = set()
    expected = base.leaves
    for other in others:
        run = probe.try_call(example, with_leaves(values, {path: other}))
        if run is None or not same_results(run, base):
            return {""}
        got = run.leaves
        found |= {
            one
            for one in expected
            if one != path and not (one in got and same_leaf(got[one], expected[one]))
        }
    return found


def _others(leaf: Leaf, step: Any) -> Iterator[Leaf]:
    """Yield other values for a number: for one that counts, what it will be after more calls."""
    if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool:
        yield ~leaf
    elif isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
        generator = torch.Generator().manual_seed(0)
        for scale in (1, 30):
            noise = torch.randn(leaf.shape, generator=generator)
            yield leaf.nan_to_num() + scale * noise.to(leaf.dtype)
    elif isinstance(leaf, bool):
        yield not leaf
    elif isinstance(leaf, float):
        yield from (leaf + 1.37, leaf - 41.0)
    else:
        for start in (leaf, leaf - (CALLS - 1) * step):
            yield from (start + step * calls for count in _COUNTS for calls in (count - 1, count))


def _earlier(probe: MemoryProbe, calls: Sequence[Call], path: str) -> Iterator[Leaf]:
    """Yield what a number was before the first call, and after it."""
    size = shape_of(calls[-1].leaves[path]) if path in calls[-1].leaves else None
    rest = {
        one: leaf
        for name, value in attributes_of(probe.module).items()
        if name in probe.names
        for one, leaf in leaves_of(value, name)
    }
    for leaves in (rest, calls[0].leaves):
        if path in leaves and shape_of(leaves[path]) == size:
            yield leaves[path]


def _step(calls: Sequence[Call], path: str) -> Any:
    """Return by how much an integer grows from call to call."""
    last, before = (one.leaves.get(path) for one in (calls[-1], calls[-2]))
    if last is None or before is None or shape_of(last) != shape_of(before):
        return 1
    if torch.as_tensor(last).dtype == torch.bool:
        return 1
    step = last - before
    return step if torch.as_tensor(step).any() else 1
