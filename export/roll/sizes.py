"""Whole numbers that depend on the sizes of the example."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

__all__ = ["Size", "size_node", "size_of"]


@dataclass(frozen=True)
class Size:
    """A number that grows evenly with the sizes of dynamic axes.

    Attributes:
        constant: What it is where all of these sizes are 0.
        slopes: Name of an axis → how much it grows by with each step of that axis; no zeros.
    """

    constant: int
    slopes: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Size | int) -> Size:
        """Return the sum."""
        return self._plus(other, 1)

    def __sub__(self, other: Size | int) -> Size:
        """Return the difference."""
        return self._plus(other, -1)

    def _plus(self, other: Size | int, sign: int) -> Size:
        other = other if isinstance(other, Size) else Size(other)
        slopes = dict(self.slopes)
        for name, slope in other.slopes:
            slopes[name] = slopes.get(name, 0) + sign * slope
        return Size(
            self.constant + sign * other.constant,
            tuple((name, slope) for name, slope in slopes.items() if slope),
        )


def size_of(values: Sequence[int], sizes: Mapping[str, int], longer: Sequence[str]) -> Size:
    """Return the number that is the first of `values` at `sizes`, and the others at longer axes.

    Args:
        values: The number at the sizes of the example, then with each axis of `longer` by one
            longer.
        sizes: Name of an axis → its size in the example.
        longer: Names of axes.
    """
    first, *others = values
    slopes = {name: value - first for name, value in zip(longer, others, strict=True)}
    return Size(
        first - sum(slope * sizes[name] for name, slope in slopes.items()),
        tuple((name, slope) for name, slope in slopes.items() if slope),
    )


def size_node(graph: fx.Graph, size: Size, symbols: Mapping[str, fx.Node]) -> Any:
    """Return `size` as an argument of a node in `graph`.

    Args:
        graph: Where it is computed.
        size: The number.
        symbols: Name of an axis → its size in `graph`.
    """
    total: Any = size.constant
    for name, slope in size.slopes:
        part: Any = symbols[name]
        if slope != 1:
            part = graph.call_function(operator.mul, (part, slope))
        total = part if total == 0 else graph.call_function(operator.add, (part, total))
    return total
