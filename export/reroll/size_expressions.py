"""Whole numbers that depend on the sizes of the example."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

__all__ = ["Axis", "Size", "size_node", "size_of"]


@dataclass(frozen=True)
class Axis:
    """A dynamic axis whose size forward looks at.

    It is measured in strides: (size + shift) // stride.

    Attributes:
        input: The place of an input that has it.
        axis: Which of the input's axes it is.
        stride: How much longer it must be for one more iteration of forward's loops.
        shift: Less than `stride`; what brings the size to a multiple where an iteration is added.
    """

    input: int
    axis: int
    stride: int = 1
    shift: int = 0

    def strides(self, size: int) -> int:
        """Return a size in strides."""
        return (size + self.shift) // self.stride


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

    def __mul__(self, by: int) -> Size:
        """Return `by` times as much."""
        return Size(self.constant * by, tuple((name, slope * by) for name, slope in self.slopes))

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
