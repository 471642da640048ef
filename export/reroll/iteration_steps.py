"""What the iterations of a loop take and write step by step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from edgernn.export.reroll.detect_loops import Carried, Inner, Outer, Places, operands
from edgernn.export.reroll.normalize import SELECT, SLICE, shape_of
from edgernn.export.reroll.size_expressions import Size
from edgernn.export.reroll.size_variants import Aligned, Item, NotRolledError

__all__ = [
    "READ_TOO_EARLY",
    "Gathered",
    "Numbers",
    "Steps",
    "results_taken",
    "step_taken",
    "tensors_gathered",
]

READ_TOO_EARLY = "a tensor is read while it is written step by step"

_ATEN = torch.ops.aten
_WRITE_STEP = _ATEN.select_scatter.default
_WRITE_STEPS = _ATEN.slice_scatter.default


@dataclass(frozen=True)
class Steps:
    """What each iteration takes one step of, or a few that follow each other.

    Attributes:
        whole: A tensor; or, of another loop, its place and that of the operator whose results are
            collected.
        axis: The axis of the steps, counted from the first axis.
        first: The step that the first iteration takes.
        backward: Whether the next iteration takes a step before, not one behind.
        by: How many steps lie between an iteration's and the next one's, and one more.
        width: How many steps each iteration takes.
    """

    whole: fx.Node | Item | tuple[int, int]
    axis: int
    first: Size
    backward: bool
    by: int = 1
    width: int = 1

    @property
    def single(self) -> list[Steps]:
        """The same, one step at a time."""
        return [replace(self, first=self.first + n, width=1) for n in range(self.width)]


@dataclass(frozen=True)
class Numbers:
    """A whole number that each iteration takes.

    Attributes:
        first: That of the first iteration.
        stride: How much larger that of the next iteration is.
    """

    first: Size
    stride: int


@dataclass(frozen=True)
class Gathered:
    """A tensor that each iteration writes one step of.

    Attributes:
        carried: Its place among the carried values.
        axis: The axis of the steps, counted from the first axis.
        first: The step that the first iteration writes.
        backward: Whether the next iteration writes the step before, not the one behind.
        kept: Whether what is written has the axis.
    """

    carried: int
    axis: int
    first: Size
    backward: bool
    kept: bool


def step_taken(aligned: Aligned, number: int, place: int) -> Steps | None:
    """Return what an operator takes steps of, if it does nothing else.

    Args:
        aligned: The forward.
        number: The place of the loop.
        place: The place of the operator in an iteration.

    Raises:
        NotRolledError: The steps are not one behind the other.
    """
    loops = aligned.loops[number]
    target, forms = loops[0].body[place].target, loops[0].forms[place]
    if target not in (SELECT, SLICE) or not isinstance(forms[0], Outer) or len(forms) < 3:
        return None
    shapes = [shape_of(loop.forms[place][0].node) or () for loop in loops]
    width = _width(forms[2:]) if target is SLICE else 1
    if not isinstance(forms[2], Places) or not width:
        return None
    axis = forms[1] % len(shapes[0])
    first = _first(aligned, number, place, 2, [shape[axis] for shape in shapes])
    whole = aligned.value([loop.forms[place][0].node for loop in loops])
    return Steps(whole, axis, first, forms[2].step < 0, abs(forms[2].step), width)


def results_taken(aligned: Aligned, number: int, place: int, index: int) -> Steps:
    """Return the results of another loop of which each iteration takes one.

    Args:
        aligned: The forward.
        number: The place of the loop.
        place: The place of the operator that takes them in an iteration.
        index: Which of its operands they are.

    Raises:
        NotRolledError: They are no such results, or not one behind the other.
    """
    found = [_results(aligned, size, number, place, index) for size in range(len(aligned.programs))]
    if len({one[:3] for one in found}) > 1:
        raise NotRolledError("an iteration takes the results of another operator at other sizes")
    loop, source, stride, _ = found[0]
    first = aligned.number([one[3] for one in found])
    return Steps((loop, source), 0, first, stride < 0, abs(stride))


def _results(
    aligned: Aligned, size: int, number: int, place: int, index: int
) -> tuple[int, int, int, int]:
    """Return loop, place, stride and first iteration of the results taken at one size."""
    rows = aligned.loops[number][size].rows
    taken = [operands(node)[index] for row in rows if (node := row[place]) is not None]
    items = [aligned.item(size, node) for node in taken]
    known = [item for item in items if item is not None]
    strides = {b[1] - a[1] for a, b in itertools.pairwise(known)}
    sources = {(loop, source) for loop, _, source in known}
    if len(known) < len(items) or len(sources) > 1 or len(strides) > 1:
        raise NotRolledError(f"`{taken[0].name}` is another value in each iteration")
    return known[0][0], known[0][2], strides.pop(), known[0][1]


def tensors_gathered(aligned: Aligned, number: int) -> dict[int, Gathered]:
    """Return the carried values that are written step by step and not read in between.

    Args:
        aligned: The forward.
        number: The place of the loop.

    Returns:
        Place of the operator that writes it → the value.

    Raises:
        NotRolledError: The steps are not one behind the other.
    """
    return dict(_gathered(aligned, number))


def _gathered(aligned: Aligned, number: int) -> Iterator[tuple[int, Gathered]]:
    loop = aligned.loops[number][0]
    uses = [*itertools.chain(*loop.forms), *(end for end, _ in loop.carried)]
    for carried, (end, _) in enumerate(loop.carried):
        if not isinstance(end, Inner) or uses.count(Carried(carried)) != 1:
            continue
        node, forms = loop.body[end.place], loop.forms[end.place]
        if forms[0] != Carried(carried):
            continue
        shape = shape_of(node) or ()
        if _writes_step(node, forms):
            axis = forms[2] % len(shape)
            sizes = [(shape_of(one.body[end.place]) or ())[axis] for one in aligned.loops[number]]
            first = _first(aligned, number, end.place, 3, sizes)
            kept = node.target is _WRITE_STEPS
            yield end.place, Gathered(carried, axis, first, _is_backward(forms[3].step), kept)


def _writes_step(node: fx.Node, forms: Sequence[Any]) -> bool:
    if node.target not in (_WRITE_STEP, _WRITE_STEPS) or not isinstance(forms[3], Places):
        return False
    return node.target is _WRITE_STEP or _width(forms[3:]) == 1


def _width(bounds: Sequence[Any]) -> int:
    """Return how many steps are between the bounds of a slice, or 0 where it is not always that."""
    match bounds:
        case [Places(start, by), Places(end, other)] if by == other and end > start:
            return end - start
    return 0


def _is_backward(stride: int) -> bool:
    if abs(stride) != 1:
        raise NotRolledError(f"a loop moves by {stride} steps with each iteration")
    return stride < 0


def _first(aligned: Aligned, number: int, place: int, index: int, sizes: Sequence[Any]) -> Size:
    """Return the step of the first iteration, counted from the beginning of the axis.

    Args:
        aligned: The forward.
        number: The place of the loop.
        place: The place of the operator in an iteration.
        index: The operand that is the number of the step; negative counts from the end.
        sizes: The size of the axis, at all sizes of the example.
    """
    firsts: list[int] = []
    for loop, size in zip(aligned.loops[number], sizes, strict=True):
        steps = loop.forms[place][index]
        last = steps.first + steps.step * (len(loop.rows) - 1)
        if (steps.first < 0) != (last < 0):
            raise NotRolledError(f"a loop moves from step {steps.first} to step {last}")
        if steps.first >= 0:
            firsts.append(steps.first)
        elif isinstance(size, int):
            firsts.append(steps.first + size)
        else:
            raise NotRolledError(f"a loop begins at step {steps.first} of an axis of any size")
    return aligned.number(firsts)
