"""Whole numbers that follow the sizes of axes."""

from __future__ import annotations

import pytest
from torch import fx

from edgernn.export.reroll.size_expressions import Size, size_node, size_of


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ([4, 4, 4], Size(4)),
        ([5, 6, 5], Size(0, (("sequence", 1),))),
        ([4, 5, 4], Size(-1, (("sequence", 1),))),
        ([12, 13, 14], Size(-7, (("sequence", 1), ("more", 2)))),
    ],
)
def test_a_size_is_told_from_what_it_is_at_longer_axes(values, size):
    """The first value is that of the example, each other that with one axis longer by one."""
    assert size_of(values, {"sequence": 5, "more": 7}, ["sequence", "more"]) == size


def test_sizes_add_and_subtract_axis_by_axis():
    """An axis that cancels out is gone."""
    one, other = Size(2, (("sequence", 1), ("more", 1))), Size(5, (("sequence", 1),))
    assert one + other == Size(7, (("sequence", 2), ("more", 1)))
    assert one - other == Size(-3, (("more", 1),))
    assert one - 1 == Size(1, one.slopes)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (Size(3), 3),
        (Size(0, (("sequence", 1),)), 10),
        (Size(-1, (("sequence", 2), ("more", 1))), 39),
    ],
)
def test_a_size_is_computed_in_a_graph(size, number):
    """From the sizes of the axes."""
    graph = fx.Graph()
    symbols = {name: graph.placeholder(name) for name in ("sequence", "more")}
    graph.output(size_node(graph, size, symbols))
    assert fx.GraphModule({}, graph)(10, 20) == number
