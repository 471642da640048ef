"""Parts of tensors along one axis, written as torch's operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from edgernn.export.reroll.iteration_steps import Numbers
from edgernn.export.reroll.normalize import SELECT, SLICE
from edgernn.export.reroll.size_expressions import Size, size_node

__all__ = ["Parts"]

_ATEN = torch.ops.aten
_END = (1 << 63) - 1


class Parts:
    """Writes parts of tensors.

    Args:
        graph: What is written to.
        symbols: Name of an axis → its size in `graph`.
    """

    def __init__(self, graph: fx.Graph, symbols: Mapping[str, fx.Node]) -> None:
        self._graph = graph
        self._symbols = symbols

    def size(self, size: Size) -> Any:
        """Return a number as an argument of a node."""
        return size_node(self._graph, size, self._symbols)

    def step(self, whole: fx.Node, index: Size | int) -> fx.Node:
        """Return one of the first axis: (steps, …) → (…)."""
        place = self.size(index) if isinstance(index, Size) else index
        return self._graph.call_function(SELECT, (whole, 0, place))

    def counted(self, numbers: Numbers, count: Size) -> fx.Node:
        """Return `count` whole numbers: (count,) int64."""
        found = self._graph.call_function(
            _ATEN.arange.default, (self.size(count),), {"dtype": torch.int64}
        )
        if numbers.stride != 1:
            found = self._graph.call_function(_ATEN.mul.Tensor, (found, numbers.stride))
        if numbers.first == Size(0):
            return found
        return self._graph.call_function(_ATEN.add.Tensor, (found, self.size(numbers.first)))

    def span(
        self, whole: fx.Node, axis: int, low: Size, count: Size, total: Size | None, by: int = 1
    ) -> fx.Node:
        """Return `count` steps of an axis from step `low` on, each `by` steps behind the other.

        `total` is how many steps there are.
        """
        if low == Size(0) and total == count:
            return whole
        end = low + (count - 1) * by + 1
        bounds = (axis, self.size(low), self.size(end), *([by] if by > 1 else []))
        return self._graph.call_function(SLICE, (whole, *bounds))

    def turned(self, whole: fx.Node, axis: int, backward: bool) -> fx.Node:
        """Return a tensor with the steps of an axis in reverse, if `backward`."""
        if not backward:
            return whole
        return self._graph.call_function(_ATEN.flip.default, (whole, [axis]))

    def laid(self, whole: fx.Node, axis: int, kept: bool) -> fx.Node:
        """Move the first axis to `axis`, joined with the one there if `kept`."""
        if axis:
            whole = self._graph.call_function(_ATEN.movedim.int, (whole, 0, axis))
        if kept:
            whole = self._graph.call_function(_ATEN.flatten.using_ints, (whole, axis, axis + 1))
        return whole

    def single(self, step: fx.Node, axis: int) -> fx.Node:
        """Give a tensor one more axis, of size 1."""
        return self._graph.call_function(_ATEN.unsqueeze.default, (step, axis))

    def without(self, whole: fx.Node, axis: int) -> fx.Node:
        """Drop an axis, of size 1."""
        return self._graph.call_function(_ATEN.squeeze.dim, (whole, axis))

    def joined(self, parts: list[fx.Node], axis: int) -> fx.Node:
        """Return tensors behind each other."""
        if len(parts) == 1:
            return parts[0]
        return self._graph.call_function(_ATEN.cat.default, (parts, axis))

    def written(self, whole: fx.Node, axis: int, low: Size, part: fx.Node, end: Size) -> fx.Node:
        """Return `whole` with `part` in the place of the steps of an axis from `low` to `end`."""
        head = self._graph.call_function(SLICE, (whole, axis, 0, self.size(low)))
        tail = self._graph.call_function(SLICE, (whole, axis, self.size(end), _END))
        return self.joined([head, part, tail], axis)
