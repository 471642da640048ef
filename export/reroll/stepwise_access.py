"""Tensors that the iterations of a loop read or write one step at a time.

`torch.stack([start, *states])` of a loop with 5 iterations takes 6 tensors: `start` and one range
of iterations.

Loops and operators are given by index: a loop's in the forward, an operator's in an iteration.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sympy
import torch
from torch import fx

from edgernn.export.reroll.loop_structure import (
    CollectedResults,
    InductionVariable,
    Invariant,
    IterationResult,
    NodeVariants,
    PreallocatedOutput,
    PreviousIteration,
    RerollError,
    SameIteration,
    StepInput,
)
from edgernn.export.reroll.size_variants import SizeVariants
from edgernn.export.reroll.torch_operators import SELECT, SLICE, operands_of, shape_of

__all__ = [
    "READ_TOO_EARLY",
    "IterationRange",
    "collected_input",
    "group_iterations",
    "preallocated_outputs",
    "step_inputs",
]

READ_TOO_EARLY = "a tensor is read before the loop has written all of it"

_WRITE_STEP = torch.ops.aten.select_scatter.default
_WRITE_STEPS = torch.ops.aten.slice_scatter.default


@dataclass(frozen=True)
class IterationRange:
    """The results of one operator of a loop in consecutive iterations.

    Attributes:
        first: The first of these iterations, in the order of the loop.
        count: How many these are.
        backward: Whether the last iteration comes first.
    """

    loop: int
    operator: int
    first: sympy.Expr
    count: sympy.Expr
    backward: bool


def step_inputs(variants: SizeVariants, loop: int, operator: int) -> list[StepInput] | None:
    """Return what an operator takes steps of; None for an operator that does something else.

    Returns:
        One for each step that an iteration takes: two for `x[:, t : t + 2]`.

    Raises:
        RerollError: The steps do not follow each other.
    """
    loops = variants.loops[loop]
    target, operands = loops[0].body[operator].target, [one.operands[operator] for one in loops]
    first = operands[0]
    if target not in (SELECT, SLICE) or not isinstance(first[0], Invariant) or len(first) < 3:
        return None
    width, index = _width(first[2:]) if target is SLICE else 1, first[2]
    if not isinstance(index, InductionVariable) or not width:
        return None
    sources = [one[0].node for one in operands]
    shapes = [shape_of(source) or () for source in sources]
    axis = first[1] % len(shapes[0])
    start = _first_step(variants, loop, [one[2] for one in operands], [s[axis] for s in shapes])
    source = variants.value(sources)
    return [
        StepInput(source, axis, start + n, backward=index.stride < 0, stride=abs(index.stride))
        for n in range(width)
    ]


def collected_input(variants: SizeVariants, loop: int, operator: int, operand: int) -> StepInput:
    """Return the results of another loop of which each iteration takes one, as an `operand`.

    Raises:
        RerollError: They are not such results, or do not follow each other.
    """
    found = []
    for variant, unrolled in enumerate(variants.loops[loop]):
        rows = [row[operator] for row in unrolled.iterations]
        values = [operands_of(node)[operand] for node in rows if node is not None]
        positions = [variants.position(variant, value) for value in values]
        known = [position for position in positions if position is not None]
        strides = {after[1] - before[1] for before, after in itertools.pairwise(known)}
        sources = {CollectedResults(number, index) for number, _, index in known}
        if len(known) < len(values) or len(sources) > 1 or len(strides) > 1:
            raise RerollError(f"`{values[0].name}` is a different value in each iteration")
        found.append((sources.pop(), strides.pop(), known[0][1]))
    source, stride, _ = found[0]
    if any(one[:2] != (source, stride) for one in found):
        raise RerollError(
            "an iteration takes the results of different operators, depending on the sizes"
        )
    first = variants.size([number for *_, number in found])
    return StepInput(source, axis=0, first=first, backward=stride < 0, stride=abs(stride))


def preallocated_outputs(variants: SizeVariants, loop: int) -> dict[int, PreallocatedOutput]:
    """Return the carried values that are written step by step and not read in between.

    Returns:
        Index of the operator that writes it → the value.

    Raises:
        RerollError: The steps do not follow each other.
    """
    found: dict[int, PreallocatedOutput] = {}
    loops = variants.loops[loop]
    first = loops[0]
    uses = [*itertools.chain(*first.operands), *(end for end, _ in first.carried)]
    for carried, (end, _) in enumerate(first.carried):
        value = PreviousIteration(carried)
        if not isinstance(end, SameIteration) or uses.count(value) != 1:
            continue
        index, node = end.operator, first.body[end.operator]
        operands = first.operands[index]
        if operands[0] != value or not _writes_step(node, operands):
            continue
        stride = operands[3].stride
        axis = operands[2] % len(shape_of(node) or ())
        sizes = [(shape_of(one.body[index]) or ())[axis] for one in loops]
        steps = [one.operands[index][3] for one in loops]
        start = _first_step(variants, loop, steps, sizes)
        if abs(stride) != 1:
            raise RerollError(f"a loop writes every {abs(stride)} steps of a tensor")
        found[index] = PreallocatedOutput(
            carried, axis, start, backward=stride < 0, keeps_axis=node.target is _WRITE_STEPS
        )
    return found


def _writes_step(node: fx.Node, operands: Sequence[Any]) -> bool:
    many = node.target is _WRITE_STEPS and _width(operands[3:]) == 1
    return (many or node.target is _WRITE_STEP) and isinstance(operands[3], InductionVariable)


def _width(bounds: Sequence[Any]) -> int:
    """Return how many steps are between the bounds of a slice, or 0 where that varies."""
    match bounds:
        case [InductionVariable(start, stride), InductionVariable(end, other)] if stride == other:
            return max(cast("int", end - start), 0)
    return 0


def _first_step(
    variants: SizeVariants, loop: int, steps: Sequence[InductionVariable], sizes: Sequence[Any]
) -> sympy.Expr:
    """Return the step of the first iteration, counted from the beginning of the axis.

    The induction variables `steps` and the `sizes` of the axis are given at all sizes; a negative
    step counts from the end.
    """
    firsts: list[Any] = []
    for unrolled, step, size in zip(variants.loops[loop], steps, sizes, strict=True):
        last = step.first + step.stride * (len(unrolled.iterations) - 1)
        if (step.first < 0) != (last < 0):
            raise RerollError(f"a loop moves from step {step.first} to step {last}")
        if step.first < 0 and not isinstance(size, int):
            raise RerollError(f"a loop begins at step {step.first} of an axis of any size")
        firsts.append(step.first if step.first >= 0 else step.first + size)
    return variants.size(firsts)


def group_iterations(
    variants: SizeVariants, nodes: NodeVariants
) -> list[fx.Node | IterationResult | IterationRange]:
    """Return what an operator with a list of tensors takes, with consecutive iterations as one.

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
    tensors: Sequence[fx.Node] = node.args[0]  # type: ignore[assignment]  # a list
    groups: list[list[fx.Node]] = []
    for tensor in tensors:
        last = [*(groups[-1][-2:] if groups else []), tensor]
        positions = [variants.position(variant, one) for one in last]
        known = [position for position in positions if position is not None]
        same = len(known) == len(last) and len({(loop, index) for loop, _, index in known}) == 1
        strides = {after[1] - before[1] for before, after in itertools.pairwise(known)}
        if same and strides in ({1}, {-1}):
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
    return groups


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
