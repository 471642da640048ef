"""Whole numbers that depend on the sizes of the example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Axis", "Size", "size_of"]


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

    def __sub__(self, other: Size | int) -> Size:
        """Return the difference."""
        other = other if isinstance(other, Size) else Size(other)
        names = dict([*self.slopes, *other.slopes])
        slopes = {
            name: dict(self.slopes).get(name, 0) - dict(other.slopes).get(name, 0) for name in names
        }
        return Size(
            self.constant - other.constant,
            tuple((name, slope) for name, slope in slopes.items() if slope),
        )

    def __mul__(self, by: int) -> Size:
        """Return `by` times as much."""
        return Size(self.constant * by, tuple((name, slope * by) for name, slope in self.slopes))


def size_of(
    values: Sequence[int], sizes: Mapping[str, int], grown: Mapping[str, int]
) -> Size | None:
    """Return the number that is the first of `values` at `sizes`, and the others when grown.

    Args:
        values: The number at the sizes of the example, then with each axis of `grown` larger.
        sizes: Name of an axis → its size in the example.
        grown: Name of an axis → by how much it is larger.

    Returns:
        The size, or None where it does not grow evenly.
    """
    first, *others = values
    slopes: dict[str, int] = {}
    for (name, by), other in zip(grown.items(), others, strict=True):
        slope, rest = divmod(other - first, by)
        if rest:
            return None
        if slope:
            slopes[name] = slope
    constant = first - sum(slope * sizes[name] for name, slope in slopes.items())
    return Size(constant, tuple(slopes.items()))
