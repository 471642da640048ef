"""What consecutive iterations of a loop computed, in what takes a list of tensors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from edgernn.export.reroll.size_expressions import Size
from edgernn.export.reroll.size_variants import Aligned, Item, NotRolledError, Twins

__all__ = ["Run", "runs"]


@dataclass(frozen=True)
class Run:
    """The results of one operator of a loop in consecutive iterations.

    Attributes:
        loop: The place of the loop.
        place: The place of the operator in an iteration.
        low: The first of these iterations, in the order of the loop.
        count: How many these are.
        backward: Whether the last iteration stands first.
    """

    loop: int
    place: int
    low: Size
    count: Size
    backward: bool


def runs(aligned: Aligned, nodes: Twins) -> list[fx.Node | Item | Run]:
    """Return what an operator takes, with consecutive iterations as one.

    Args:
        aligned: The forward.
        nodes: The operator at all sizes; its first argument is a list of tensors.

    Raises:
        NotRolledError: It takes something else at other sizes.
    """
    lists = [_parted(aligned, size, node) for size, node in enumerate(nodes)]
    if len({len(parts) for parts in lists}) > 1:
        raise NotRolledError(f"`{nodes[0].target}` takes another number of tensors at other sizes")
    return [_run(aligned, parts) for parts in zip(*lists, strict=True)]


def _parted(aligned: Aligned, size: int, node: fx.Node) -> list[list[fx.Node]]:
    """Part the tensors that `node` takes: what consecutive iterations computed together."""
    tensors: Sequence[fx.Node] = node.args[0]  # type: ignore[assignment]  # see `runs`
    parts: list[list[fx.Node]] = []
    for tensor in tensors:
        previous = parts[-1][-2:] if parts else []
        items = [aligned.item(size, one) for one in [*previous, tensor]]
        if previous and _continue(items):
            parts[-1].append(tensor)
        else:
            parts.append([tensor])
    return parts


def _continue(items: Sequence[tuple[int, int, int] | None]) -> bool:
    """Return whether the last item is of the iteration next to that of the one before it."""
    known = [item for item in items if item is not None]
    if len(known) < len(items) or len({(loop, place) for loop, _, place in known}) > 1:
        return False
    strides = [after[1] - before[1] for before, after in itertools.pairwise(known)]
    return strides[-1] in (1, -1) and len(set(strides)) == 1


def _run(aligned: Aligned, parts: Sequence[Sequence[fx.Node]]) -> fx.Node | Item | Run:
    """Return what the tensors are, those of each size."""
    first = aligned.value([part[0] for part in parts])
    if all(len(part) == 1 for part in parts):
        return first
    last = aligned.value([part[-1] for part in parts])
    assert isinstance(first, Item)
    assert isinstance(last, Item)
    size, longest = max(enumerate(parts), key=lambda one: len(one[1]))
    before, after = (aligned.item(size, node) for node in longest[:2])
    assert before is not None
    assert after is not None
    backward = after[1] < before[1]
    low, high = (last, first) if backward else (first, last)
    return Run(first.loop, first.place, low.iteration, high.iteration - low.iteration + 1, backward)
