"""The same forward at several sizes, operator by operator, with its loops.

Loops are what has more iterations where an axis is longer, by as many as the axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from edgernn.export.reroll.detect_loops import (
    MOVING,
    Inner,
    Outer,
    Unrolled,
    loops_of_length,
    operands,
)
from edgernn.export.reroll.program import Program
from edgernn.export.reroll.size_expressions import Size, size_of

__all__ = ["Aligned", "Item", "NotRolledError", "Twins"]


class NotRolledError(Exception):
    """When a forward does something at other sizes that cannot be told from what it did."""


@dataclass(frozen=True)
class Item:
    """The result of one operator of a loop in one iteration.

    Attributes:
        loop: The place of the loop.
        place: The place of the operator in an iteration.
        iteration: The iteration.
    """

    loop: int
    place: int
    iteration: Size


Twins = tuple[fx.Node, ...]
"""A node at each of the sizes."""


class Aligned:
    """Programs of one forward side by side.

    Args:
        programs: The forward at the sizes of the example, then with one axis each by one longer.
        sizes: Name of an axis → its size in the example.
        longer: Names of the axes that are longer in the programs behind the first.

    Attributes:
        loops: Each loop, at all sizes.
        outside: The nodes that are in no loop, at all sizes, in the order of the calls.

    Raises:
        NotRolledError: The programs are not alike.
    """

    def __init__(
        self, programs: Sequence[Program], sizes: Mapping[str, int], longer: Sequence[str]
    ) -> None:
        self.programs = programs
        self._sizes = sizes
        self._longer = longer
        self.loops = _common_loops([_operators(program.graph) for program in programs])
        self._once = [
            _hoisted([loop[index] for loop in self.loops]) for index in range(len(programs))
        ]
        self._where = [
            {
                node: (number, iteration, place)
                for number, loop in enumerate(self.loops)
                for iteration, row in enumerate(loop[index].rows)
                for place, node in enumerate(row)
                if node is not None and node not in self._once[index]
            }
            for index in range(len(programs))
        ]
        self.outside = self._outside()
        self._twins = {nodes[0]: nodes for nodes in self.outside}

    def count(self, loop: int) -> Size:
        """Return the number of iterations of a loop."""
        return self.number([len(one.rows) for one in self.loops[loop]])

    def number(self, values: Sequence[Any]) -> Size:
        """Return a whole number, given at all sizes, as what it is at any size."""
        return size_of(values, self._sizes, self._longer)

    def value(self, nodes: Sequence[fx.Node]) -> fx.Node | Item:
        """Return what the nodes, one at each size, are: one outside of loops, or an item of one."""
        nodes = [once.get(node, node) for once, node in zip(self._once, nodes, strict=True)]
        found = [where.get(node) for where, node in zip(self._where, nodes, strict=True)]
        if not any(found) and tuple(nodes) == self._twins.get(nodes[0]):
            return nodes[0]
        items = [item for item in found if item is not None]
        if len(items) == len(found) and len({(loop, place) for loop, _, place in items}) == 1:
            loop, _, place = items[0]
            return Item(loop, place, self.number([iteration for _, iteration, _ in items]))
        raise NotRolledError(f"`{nodes[0].name}` is used in another way at other sizes")

    def twins(self, node: fx.Node) -> Twins:
        """Return a node outside of loops at all sizes."""
        return self._twins[node]

    def item(self, index: int, node: fx.Node) -> tuple[int, int, int] | None:
        """Return loop, iteration and place of a node at one of the sizes; None outside."""
        return self._where[index].get(self._once[index].get(node, node))

    def _same_weights(self, nodes: Twins) -> bool:
        first, *others = (p.weight(node) for p, node in zip(self.programs, nodes, strict=True))
        return all(one is first or torch.equal(one, first) for one in others)

    def _outside(self) -> list[Twins]:
        lists = [
            [
                node
                for node in program.graph.nodes
                if node not in where and once.get(node, node) is node and node.op != "output"
            ]
            for program, where, once in zip(self.programs, self._where, self._once, strict=True)
        ]
        if len({len(nodes) for nodes in lists}) > 1:
            raise NotRolledError("forward calls other operators at other sizes")
        for nodes in zip(*lists, strict=True):
            if nodes[0].op == "get_attr" and not self._same_weights(nodes):
                raise NotRolledError("forward makes other constants at other sizes")
            if len({str(node.target) for node in nodes}) > 1:
                called = " and ".join(f"`{node.target}`" for node in nodes)
                raise NotRolledError(f"forward calls {called} at other sizes")
        return list(zip(*lists, strict=True))


def _operators(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "call_function"]


def _common_loops(programs: Sequence[Sequence[fx.Node]]) -> list[tuple[Unrolled, ...]]:
    """Return the loops of all programs that have more iterations where one axis is longer."""
    parts: list[list[Sequence[fx.Node]]] = [[nodes] for nodes in programs]
    found: list[tuple[Unrolled, ...]] = []
    most = max(len(nodes) for nodes in programs) - len(programs[0])
    for length in range(1, most + 1):
        candidates = [
            [loop for nodes in pieces for loop in loops_of_length(nodes, length)]
            for pieces in parts
        ]
        if len({len(loops) for loops in candidates}) > 1:
            continue
        for loops in zip(*candidates, strict=True):
            more = [len(loop.rows) - len(loops[0].rows) for loop in loops[1:]]
            bodies = {str([node.target for node in loop.body]) for loop in loops}
            if len(bodies) == 1 and sorted(more) == [0] * (len(more) - 1) + [1]:
                found.append(loops)
                parts = [
                    [piece for nodes in pieces for piece in _without(nodes, loop)]
                    for pieces, loop in zip(parts, loops, strict=True)
                ]
    order = {node: place for place, node in enumerate(programs[0])}
    return sorted(found, key=lambda loops: order[loops[0].body[0]])


def _without(nodes: Sequence[fx.Node], loop: Unrolled) -> Iterable[Sequence[fx.Node]]:
    """Return what of `nodes` is before the loop and what is behind it."""
    inside = {node for row in loop.rows for node in row if node is not None}
    places = [place for place, node in enumerate(nodes) if node in inside]
    if not places:
        return [nodes]
    return [nodes[: places[0]], nodes[places[-1] + 1 :]]


def _hoisted(loops: Iterable[Unrolled]) -> dict[fx.Node, fx.Node]:
    """Take out of loops what is the same in all iterations; return whose place it takes."""
    once: dict[fx.Node, fx.Node] = {}
    for loop in loops:
        for place, forms in enumerate(loop.forms):
            first = loop.rows[0][place]
            forms[:] = [
                Outer(once[node])
                if isinstance(form, Inner) and (node := loop.rows[0][form.place]) in once
                else form
                for form in forms
            ]
            moving = any(isinstance(form, MOVING) for form in forms)
            if not moving and first is not None and operands(first):
                once |= {node: first for row in loop.rows if (node := row[place]) is not None}
    return once
