"""Loops in a list of operators: the same operators again and again.

The first two iterations show where each operand comes from: the same iteration, the previous one,
outside the loop, or a position that moves on evenly. An iteration is one of the loop if its
operands come from the same places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.reroll.loop_structure import (
    InductionVariable,
    Invariant,
    PreviousIteration,
    SameIteration,
    UnrolledLoop,
    Varying,
)
from edgernn.export.reroll.torch_operators import SELECT, SLICE, operands_of, shape_of

__all__ = ["find_loops", "hoist_invariants"]

_FEWEST = 3
"""Iterations from which on a repetition is a loop."""


class _NoLoopError(Exception):
    """When operators are not iterations of a loop."""


def find_loops(nodes: Sequence[fx.Node], length: int) -> Iterator[UnrolledLoop]:
    """Yield the loops in `nodes`, in the order of calls, with `length` operators per iteration."""
    kinds = [_kind(node) for node in nodes]
    fewest = (_FEWEST - 1) * length
    start = 0
    while start + fewest < len(nodes):
        loop = None
        if kinds[start : start + fewest - length] == kinds[start + length : start + fewest]:
            loop = _loop_at(nodes[start:], length)
        if loop is not None:
            yield loop
        start += 1 if loop is None else len(loop.positions)


def _kind(node: fx.Node) -> str:
    """Return what an operator has in common with the same one in all other iterations."""
    types = [type(operand).__name__ for operand in operands_of(node)]
    return f"{node.target} {pytree.tree_structure((node.args, node.kwargs))} {types}"


def _loop_at(nodes: Sequence[fx.Node], length: int) -> UnrolledLoop | None:
    """Return the loop that `nodes` begins with, if it does."""
    first, second, third = (nodes[n * length : (n + 1) * length] for n in range(3))
    if [*map(_kind, third)] != [*map(_kind, first)]:
        third = first  # an incomplete iteration
    loop = UnrolledLoop([[*first], [*second]])
    try:
        loop.operands = [
            [_operand(loop, *values) for values in zip(*map(operands_of, operators), strict=True)]
            for operators in zip(first, second, third, strict=True)
        ]
    except _NoLoopError:
        return None
    end = 2 * length
    while None not in (iteration := _next_iteration(loop, nodes[end : end + length])):
        loop.append(iteration)
        end += length
    if any(iteration) and _in_range(loop, iteration):
        loop.append(iteration)
    return loop if len(loop.iterations) >= _FEWEST else None


def _operand(loop: UnrolledLoop, first: Any, second: Any, third: Any) -> Any:
    """Return where an operand comes from, from its values in the first iterations.

    The third identifies a value that is passed on twice; where it is not known it is the first.
    """
    if not isinstance(first, fx.Node):
        if first == second:
            return first
        if type(first) is int:
            return InductionVariable(first, second - first)
        raise _NoLoopError
    before, after = loop.positions.get(first), loop.positions.get(second)
    if before is None and after is None:
        iteration, operator = loop.positions.get(third, (None, 0))
        if iteration == 0:
            return loop.carry(loop.carry(SameIteration(operator), second), first)
        return Invariant(first) if first is second else Varying()
    if before is None and after is not None and after[0] == 0:
        return loop.carry(SameIteration(after[1]), first)
    if before is not None and after == (1, before[1]):
        return SameIteration(before[1])
    raise _NoLoopError


def _next_iteration(loop: UnrolledLoop, nodes: Sequence[fx.Node]) -> list[fx.Node | None]:
    """Return the operators of the next iteration as far as `nodes` begins with them."""
    iteration: list[fx.Node | None] = [None] * len(loop.operands)
    left = list(reversed(nodes))
    for index, (operator, operands) in enumerate(zip(loop.body, loop.operands, strict=True)):
        if not left or left[-1].target is not operator.target:
            continue
        values = operands_of(left[-1])
        if len(values) == len(operands) and all(
            _matches(loop, iteration, operand, value)
            for operand, value in zip(operands, values, strict=True)
        ):
            iteration[index] = left.pop()
    return iteration


def _matches(
    loop: UnrolledLoop, iteration: Sequence[fx.Node | None], operand: Any, value: Any
) -> bool:
    """Return whether `value` is `operand` in the iteration after those of the loop."""
    number = len(loop.iterations)
    match operand:
        case SameIteration(index):
            return value is not None and value is iteration[index]
        case PreviousIteration(carried):
            return value is loop.carried_into(number, carried)
        case Invariant(node):
            return value is node
        case Varying():
            return isinstance(value, fx.Node) and value not in [*loop.positions, *iteration]
        case InductionVariable(first, stride):
            return bool(value == first + stride * number)
    return type(value) is type(operand) and bool(value == operand)


def _in_range(loop: UnrolledLoop, iteration: Sequence[fx.Node | None]) -> bool:
    """Return whether an iteration could take the steps that its missing operators take."""
    for node, operator, operands in zip(iteration, loop.body, loop.operands, strict=True):
        steps = operator.target in (SELECT, SLICE) and isinstance(operands[0], Invariant)
        if node is not None or not steps:
            continue
        shape, index = shape_of(operands[0].node), operands[2]
        if isinstance(index, InductionVariable) and shape is not None:
            size, step = shape[operands[1]], index.first + index.stride * len(loop.iterations)
            if isinstance(size, int) and not -size <= step < size:
                return False
    return True


def hoist_invariants(loop: UnrolledLoop) -> UnrolledLoop:
    """Return the loop without the operators that compute the same in all iterations."""
    hoisted: dict[fx.Node, fx.Node] = {}
    invariant: dict[Any, Invariant] = {}
    operands: list[list[Any]] = []
    varies = (SameIteration, PreviousIteration, Varying, InductionVariable)
    for index, (first, own) in enumerate(zip(loop.body, loop.operands, strict=True)):
        operands.append([invariant.get(one, one) for one in own])
        if operands[-1] and not any(isinstance(one, varies) for one in operands[-1]):
            invariant[SameIteration(index)] = Invariant(first)
            hoisted |= {node: first for row in loop.iterations if (node := row[index]) is not None}
    return replace(loop, operands=operands, hoisted=hoisted)
