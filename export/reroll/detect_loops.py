"""Loops in a list of operators: the same operators again and again, one step further each time.

An iteration takes its operands from itself, from the iteration before, from outside, or from a
place that moves on by the same number with each iteration. Of the last iteration those operators
are missing whose results nobody uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx
from torch.utils import _pytree as pytree

from edgernn.export.reroll.normalize import SELECT, SLICE, shape_of

__all__ = [
    "MOVING",
    "Along",
    "Carried",
    "Inner",
    "Outer",
    "Places",
    "Unrolled",
    "loops_of_length",
    "operands",
]

_FEWEST = 3
"""Iterations from which on a repetition is taken for a loop."""


@dataclass(frozen=True)
class Inner:
    """The result of the operator at `place` in the same iteration."""

    place: int


@dataclass(frozen=True)
class Carried:
    """What the iteration before hands on, by its place among the values that are carried."""

    place: int


@dataclass(frozen=True)
class Outer:
    """A value from outside of the loop, the same in all iterations."""

    node: fx.Node


@dataclass(frozen=True)
class Along:
    """A value from outside of the loop, another one in each iteration."""


@dataclass(frozen=True)
class Places:
    """A whole number that is `first` in the first iteration and grows by `step` with each."""

    first: int
    step: int


MOVING = (Inner, Carried, Along, Places)
"""What is not the same in all iterations."""


@dataclass
class Unrolled:
    """One loop.

    Attributes:
        rows: The operators of each iteration, None where one is missing.
        forms: For each operator its operands, see `operands`, with `Inner`, `Carried`, `Outer`,
            `Along` and `Places` for what is not the same in all iterations.
        carried: For each carried value what it is at the end of an iteration, the result of an
            operator or another carried value, and what the first iteration has in its place.
    """

    rows: list[list[fx.Node | None]]
    forms: list[list[Any]] = field(default_factory=list)
    carried: list[tuple[Inner | Carried, fx.Node]] = field(default_factory=list)

    def carry(self, end: Inner | Carried, start: fx.Node) -> Carried:
        """Return the carried value that is `end` after each iteration and `start` at first."""
        if (end, start) not in self.carried:
            self.carried.append((end, start))
        return Carried(self.carried.index((end, start)))

    def carried_at(self, iteration: int, carried: Carried) -> fx.Node | None:
        """Return what an iteration has in the place of a carried value."""
        end, start = self.carried[carried.place]
        if iteration == 0:
            return start
        if isinstance(end, Carried):
            return self.carried_at(iteration - 1, end)
        return self.rows[iteration - 1][end.place]

    @property
    def body(self) -> list[fx.Node]:
        """The operators of the first iteration."""
        return [node for node in self.rows[0] if node is not None]


def operands(node: fx.Node) -> list[Any]:
    """Return what the arguments of an operator consist of, in order."""
    return pytree.tree_leaves((node.args, node.kwargs))


def loops_of_length(nodes: Sequence[fx.Node], length: int) -> Iterator[Unrolled]:
    """Yield the loops in `nodes` with `length` operators in each iteration.

    Args:
        nodes: Operators in the order of their calls.
        length: The number of operators of an iteration.
    """
    tokens = [_token(node) for node in nodes]
    full = (_FEWEST - 1) * length
    start = 0
    while start + full < len(nodes):
        end = start
        if tokens[start : start + full - length] == tokens[start + length : start + full]:
            loop, end = _loop_at(nodes, start, length)
            if loop is not None:
                yield loop
        start = max(start + 1, end)


def _token(node: fx.Node) -> str:
    """Return what an operator has in common with itself in all other iterations."""
    shapes = [type(leaf).__name__ for leaf in operands(node)]
    return f"{node.target} {pytree.tree_structure((node.args, node.kwargs))} {shapes}"


class _OtherError(Exception):
    """When operators are no iteration of a loop."""


_Rows = dict[fx.Node, tuple[int, int]]


def _loop_at(nodes: Sequence[fx.Node], start: int, length: int) -> tuple[Unrolled | None, int]:
    """Return the loop that begins at `start`, if one does, and where it ends."""
    split = start + length
    loop = Unrolled([list(nodes[start:split]), list(nodes[split : split + length])])
    rows = {node: (k, p) for k, row in enumerate(loop.rows) for p, node in enumerate(row) if node}
    third = list(nodes[split + length : split + 2 * length])
    full = [*map(_token, third)] == [*map(_token, loop.body)]
    three = zip(loop.body, nodes[split : split + length], third if full else loop.body, strict=True)
    try:
        loop.forms = [
            [_form(loop, rows, *leaves) for leaves in zip(*map(operands, ones), strict=True)]
            for ones in three
        ]
    except _OtherError:
        return None, start
    end = split + length
    while True:
        row = _next_row(loop, rows, nodes[end : end + length])
        taken = length - row.count(None)
        if taken:
            loop.rows.append(row)
        end += taken
        if taken < length:
            break
    if taken and not _in_range(loop):
        loop.rows.pop()
        end -= taken
    return (loop, end) if len(loop.rows) >= _FEWEST else (None, start)


def _in_range(loop: Unrolled) -> bool:
    """Return whether the last iteration could take the steps that its missing operators take."""
    last = len(loop.rows) - 1
    for place, node in enumerate(loop.rows[-1]):
        target, forms = loop.body[place].target, loop.forms[place]
        if node is not None or target not in (SELECT, SLICE) or not isinstance(forms[0], Outer):
            continue
        shape, index = shape_of(forms[0].node), forms[2]
        if isinstance(index, Places) and shape is not None:
            size, step = shape[forms[1]], index.first + index.step * last
            if isinstance(size, int) and not -size <= step < size:
                return False
    return True


def _form(loop: Unrolled, rows: _Rows, first: Any, second: Any, third: Any) -> Any:
    """Return what an operand is, from the first iterations.

    The third tells a value that is handed on twice; where it is not known it is the first.
    """
    if not isinstance(first, fx.Node):
        if first == second:
            return first
        if type(first) is int:
            return Places(first, second - first)
        raise _OtherError
    before, after = rows.get(first), rows.get(second)
    if before is None and after is None:
        iteration, place = rows.get(third, (None, 0))
        if iteration == 0:
            return loop.carry(loop.carry(Inner(place), second), first)
        return Outer(first) if first is second else Along()
    if before is None and after is not None and after[0] == 0:
        return loop.carry(Inner(after[1]), first)
    if before is not None and after == (1, before[1]):
        return Inner(before[1])
    raise _OtherError


def _next_row(loop: Unrolled, rows: _Rows, nodes: Sequence[fx.Node]) -> list[fx.Node | None]:
    """Return the operators of the next iteration as far as `nodes` begins with them."""
    iteration = len(loop.rows)
    row: list[fx.Node | None] = [None] * len(loop.forms)
    left = list(reversed(nodes))
    for place, forms in enumerate(loop.forms):
        if not left or left[-1].target is not loop.body[place].target:
            continue
        found = operands(left[-1])
        if len(found) == len(forms) and all(
            _fits(loop, rows, iteration, form, leaf)
            for form, leaf in zip(forms, found, strict=True)
        ):
            row[place] = left.pop()
            rows[row[place]] = (iteration, place)  # type: ignore[index]  # just set
    return row


def _fits(
    loop: Unrolled, rows: Mapping[fx.Node, Any], iteration: int, form: Any, leaf: Any
) -> bool:
    """Return whether `leaf` is what `form` says it is in an iteration."""
    where = rows.get(leaf) if isinstance(leaf, fx.Node) else None
    match form:
        case Inner(place):
            return where == (iteration, place)
        case Carried():
            return leaf is loop.carried_at(iteration, form)
        case Outer(node):
            return leaf is node
        case Along():
            return isinstance(leaf, fx.Node) and where is None
        case Places(first, step):
            return bool(leaf == first + step * iteration)
    return type(leaf) is type(form) and bool(leaf == form)
