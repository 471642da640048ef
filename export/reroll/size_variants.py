"""One forward at several sizes, node by node, with its loops.

A loop has one more iteration where an axis is one iteration longer. All other operators are the
same at all sizes. Integers follow the sizes of axes linearly, as sympy expressions: 4 at 5 steps
and 5 at 6 steps is `sequence - 1`.
"""

from __future__ import annotations

import operator
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
import torch
from torch import fx

from edgernn.export.reroll.detect_loops import find_loops, hoist_invariants
from edgernn.export.reroll.loop_structure import (
    IterationResult,
    NodeVariants,
    RerollError,
    UnrolledLoop,
)

__all__ = ["SizeVariants", "fit_size", "weight_of"]


class SizeVariants:
    """The graphs of one forward, side by side.

    Args:
        modules: The forward at some sizes, then with each axis one iteration longer.
        sizes: Name of an axis → its size, in iterations, in the first module.
        axes: Names of the axes that are longer in the other modules.

    Attributes:
        loops: Each loop, at all sizes.
        outside: The nodes outside of loops, at all sizes, in the order of the calls.

    Raises:
        RerollError: The graphs differ in more than the iterations of loops.
    """

    def __init__(
        self, modules: Sequence[fx.GraphModule], sizes: Mapping[str, int], axes: Sequence[str]
    ) -> None:
        self.modules = modules
        self.axes = axes
        self._sizes = sizes
        self.loops = _common_loops(modules)
        by_size = list(zip(*self.loops, strict=True)) or [()] * len(modules)
        self._hoisted = [dict(ChainMap(*(loop.hoisted for loop in loops))) for loops in by_size]
        self._positions = [
            {
                node: (number, *position)
                for number, loop in enumerate(loops)
                for node, position in loop.positions.items()
                if node not in loop.hoisted
            }
            for loops in by_size
        ]
        self.outside = self._outside()
        self._variants = {nodes[0]: nodes for nodes in self.outside}

    def iteration_count(self, loop: int) -> sympy.Expr:
        """Return the number of iterations of a loop."""
        return self.size([len(one.iterations) for one in self.loops[loop]])

    def size(self, values: Sequence[Any]) -> sympy.Expr:
        """Return an integer, given at all sizes, as an expression of the sizes."""
        return fit_size(values, self._sizes, self.axes)

    def constant(self, values: Sequence[Any], subject: str, target: Any) -> Any:
        """Return a constant operand of `target`, given at all sizes; `subject` calls it.

        Raises:
            RerollError: It is neither always the same nor an integer that follows the sizes.
        """
        if all(value == values[0] for value in values):
            return values[0]
        if all(type(value) is int for value in values):
            return self.size(values)
        listed = " or ".join(dict.fromkeys(map(str, values)))
        raise RerollError(f"{subject} passes {listed} to `{target}`, depending on the sizes")

    def value(self, nodes: Sequence[fx.Node]) -> fx.Node | IterationResult:
        """Return what the nodes, one at each size, are: one outside of loops, or a loop's result.

        Raises:
            RerollError: They differ.
        """
        nodes = [own.get(node, node) for own, node in zip(self._hoisted, nodes, strict=True)]
        found = [where.get(node) for where, node in zip(self._positions, nodes, strict=True)]
        if not any(found) and tuple(nodes) == self._variants.get(nodes[0]):
            return nodes[0]
        inside = [position for position in found if position is not None]
        if len(inside) == len(found) and len({(loop, index) for loop, _, index in inside}) == 1:
            loop, _, index = inside[0]
            return IterationResult(loop, index, self.size([number for _, number, _ in inside]))
        raise RerollError(f"`{nodes[0].name}` is used differently at different sizes")

    def variants(self, node: fx.Node) -> NodeVariants:
        """Return a node outside of loops at all sizes."""
        return self._variants[node]

    def position(self, variant: int, node: fx.Node) -> tuple[int, int, int] | None:
        """Return loop, iteration and index of an operator at one of the sizes; None outside."""
        return self._positions[variant].get(self._hoisted[variant].get(node, node))

    def _outside(self) -> list[NodeVariants]:
        graphs = zip(self.modules, self._positions, self._hoisted, strict=True)
        lists = [
            [
                node
                for node in module.graph.nodes
                if node not in inside and hoisted.get(node, node) is node and node.op != "output"
            ]
            for module, inside, hoisted in graphs
        ]
        if len({len(nodes) for nodes in lists}) > 1:
            raise RerollError("forward calls different operators at different sizes")
        outside = list(zip(*lists, strict=True))
        for nodes in outside:
            if nodes[0].op == "get_attr":
                first, *others = map(weight_of, self.modules, nodes)
                if not all(one is first or torch.equal(one, first) for one in others):
                    raise RerollError("forward makes different constants at different sizes")
            if len({str(node.target) for node in nodes}) > 1:
                called = " or ".join(f"`{node.target}`" for node in nodes)
                raise RerollError(f"forward calls {called}, depending on the sizes")
        return outside


def fit_size(values: Sequence[int], sizes: Mapping[str, int], longer: Sequence[str]) -> sympy.Expr:
    """Return the expression with a value at `sizes`, then one with each of `longer` one longer."""
    first, *others = values
    terms = (
        (value - first) * (sympy.Symbol(name) - sizes[name])
        for name, value in zip(longer, others, strict=True)
    )
    return sympy.expand(first + sum(terms))


def weight_of(module: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    """Return the tensor that a `get_attr` node names."""
    weight: torch.Tensor = operator.attrgetter(str(node.target))(module)
    return weight


def _common_loops(modules: Sequence[fx.GraphModule]) -> list[tuple[UnrolledLoop, ...]]:
    """Return the loops of all modules that have one more iteration where one axis is longer."""
    operators = [
        [node for node in module.graph.nodes if node.op == "call_function"] for module in modules
    ]
    pieces: list[list[Sequence[fx.Node]]] = [[nodes] for nodes in operators]
    found: list[tuple[UnrolledLoop, ...]] = []
    most = max(map(len, operators)) - len(operators[0])
    for length in range(1, most + 1):
        candidates = [
            [loop for nodes in own for loop in find_loops(nodes, length)] for own in pieces
        ]
        if len({len(loops) for loops in candidates}) > 1:
            continue
        for loops in zip(*candidates, strict=True):
            more = [len(loop.iterations) - len(loops[0].iterations) for loop in loops[1:]]
            bodies = {str([node.target for node in loop.body]) for loop in loops}
            if len(bodies) == 1 and sorted(more) == [0] * (len(more) - 1) + [1]:
                found.append(tuple(map(hoist_invariants, loops)))
                pieces = [
                    [piece for nodes in own for piece in _around(nodes, loop)]
                    for own, loop in zip(pieces, loops, strict=True)
                ]
    return sorted(found, key=lambda loops: operators[0].index(loops[0].body[0]))


def _around(nodes: Sequence[fx.Node], loop: UnrolledLoop) -> list[Sequence[fx.Node]]:
    """Return what of `nodes` is before the loop and what is after it."""
    inside = [index for index, node in enumerate(nodes) if node in loop.positions]
    return [nodes[: inside[0]], nodes[inside[-1] + 1 :]] if inside else [nodes]
