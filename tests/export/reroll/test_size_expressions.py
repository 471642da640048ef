"""Integers that follow the sizes of axes."""

from __future__ import annotations

import pytest
import sympy
from torch import fx

from edgernn.export.reroll.size_expressions import fit_size, write_size

SEQUENCE, MORE = sympy.symbols("sequence more")


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ([4, 4, 4], 4),
        ([5, 6, 5], SEQUENCE),
        ([4, 5, 4], SEQUENCE - 1),
        ([12, 13, 14], SEQUENCE + 2 * MORE - 7),
    ],
)
def test_a_size_follows_from_its_values_at_longer_axes(values, size):
    """The first value is that of the example, each other that with one axis longer by one."""
    assert fit_size(values, {"sequence": 5, "more": 7}, ["sequence", "more"]) == size


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (sympy.Integer(3), 3),
        (SEQUENCE, 10),
        (2 * SEQUENCE + MORE - 1, 39),
    ],
)
def test_a_size_is_computed_in_a_graph(size, number):
    """From the sizes of the axes."""
    graph = fx.Graph()
    axes = {name: graph.placeholder(name) for name in ("sequence", "more")}
    graph.output(write_size(graph, size, axes))
    assert fx.GraphModule({}, graph)(10, 20) == number
