"""Integers that grow linearly with the sizes of axes, as sympy expressions: `sequence - 1`.

A number in forward at one set of sizes, and again with each axis one longer, determines one:
4 at 5 steps and 5 at 6 steps is `sequence - 1`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from torch import fx

__all__ = ["fit_size", "write_size"]


def fit_size(values: Sequence[int], sizes: Mapping[str, int], longer: Sequence[str]) -> sympy.Expr:
    """Return the expression that has these values.

    Args:
        values: The number at `sizes`, then with each axis of `longer` one longer.
        sizes: Name of an axis → its size.
        longer: Names of axes.
    """
    first, *others = values
    terms = (
        (value - first) * (sympy.Symbol(name) - sizes[name])
        for name, value in zip(longer, others, strict=True)
    )
    return sympy.expand(first + sum(terms))


def write_size(graph: fx.Graph, size: sympy.Expr, axes: Mapping[str, fx.Node]) -> Any:
    """Return `size` as an argument of a node in `graph`.

    Args:
        graph: Where it is computed.
        size: A linear expression.
        axes: Name of an axis → its size in `graph`.
    """
    slopes = size.as_coefficients_dict()
    total: Any = int(slopes[sympy.S.One])
    for name, axis in axes.items():
        if slope := int(slopes[sympy.Symbol(name)]):
            term = axis if slope == 1 else graph.call_function(operator.mul, (axis, slope))
            total = term if total == 0 else graph.call_function(operator.add, (term, total))
    return total
