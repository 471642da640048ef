"""What a `stack` or `cat` takes, with the results of consecutive iterations as one.

`torch.stack([start, *states])` of a loop with 5 iterations takes 6 tensors: `start` and one range
of iterations.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import sympy
from torch import fx

from edgernn.export.reroll.loop_structure import IterationResult, NodeVariants, RerollError
from edgernn.export.reroll.size_variants import SizeVariants

__all__ = ["IterationRange", "group_iterations"]


@dataclass(frozen=True)
class IterationRange:
    """The results of one operator of a loop in consecutive iterations.

    Attributes:
        loop: Index of the loop.
        operator: Index of the operator in an iteration.
        first: The first of these iterations, in the order of the loop.
        count: How many these are.
        backward: Whether the last iteration comes first.
    """

    loop: int
    operator: int
    first: sympy.Expr
    count: sympy.Expr
    backward: bool


def group_iterations(
    variants: SizeVariants, nodes: NodeVariants
) -> list[fx.Node | IterationResult | IterationRange]:
    """Return what an operator takes, with consecutive iterations as one.

    Args:
        variants: The forward.
        nodes: The operator at all sizes; its first argument is a list of tensors.

    Raises:
        RerollError: It takes something else at other sizes.
    """
    lists = [_groups(variants, variant, node) for variant, node in enumerate(nodes)]
    if len({len(groups) for groups in lists}) > 1:
        raise RerollError(
            f"the number of tensors that `{nodes[0].target}` takes depends on the sizes"
        )
    return [_range(variants, groups) for groups in zip(*lists, strict=True)]


def _groups(variants: SizeVariants, variant: int, node: fx.Node) -> list[list[fx.Node]]:
    """Return the tensors that `node` takes; those of consecutive iterations together."""
    tensors: Sequence[fx.Node] = node.args[0]  # type: ignore[assignment]  # see `group_iterations`
    groups: list[list[fx.Node]] = []
    for tensor in tensors:
        previous = groups[-1][-2:] if groups else []
        positions = [variants.position(variant, one) for one in [*previous, tensor]]
        if previous and _consecutive(positions):
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
    return groups


def _consecutive(positions: Sequence[tuple[int, int, int] | None]) -> bool:
    """Return whether the last result is of the iteration next to the one before, in one order."""
    known = [position for position in positions if position is not None]
    if len(known) < len(positions) or len({(loop, index) for loop, _, index in known}) > 1:
        return False
    strides = {after[1] - before[1] for before, after in itertools.pairwise(known)}
    return strides in ({1}, {-1})


def _range(
    variants: SizeVariants, groups: Sequence[Sequence[fx.Node]]
) -> fx.Node | IterationResult | IterationRange:
    """Return what the tensors are, those of each size."""
    first = variants.value([group[0] for group in groups])
    if all(len(group) == 1 for group in groups):
        return first
    last = variants.value([group[-1] for group in groups])
    assert isinstance(first, IterationResult)
    assert isinstance(last, IterationResult)
    variant, longest = max(enumerate(groups), key=lambda one: len(one[1]))
    before, after = (variants.position(variant, node) for node in longest[:2])
    backward = before is not None and after is not None and after[1] < before[1]
    low, high = (last, first) if backward else (first, last)
    count = high.iteration - low.iteration + 1
    return IterationRange(first.loop, first.operator, low.iteration, count, backward)
