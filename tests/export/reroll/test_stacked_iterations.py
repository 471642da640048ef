"""What consecutive iterations computed, in a stack."""

from __future__ import annotations

from typing import Any

import pytest
import sympy
import torch

from edgernn.export.reroll.loop_structure import IterationResult, RerollError
from edgernn.export.reroll.stacked_iterations import IterationRange, group_iterations
from tests.nets.loops import size_variants

STEPS = sympy.Symbol("sequence")


def stacked(choose):
    """Return what a stack of `choose(states, start)` takes."""

    def run(net, x):
        states = net.states(x)
        return torch.stack(choose(states, net.start(x))), torch.stack(states)

    forward = size_variants(run)
    outputs: list[Any] = [module.graph.output_node().args[0] for module in forward.modules]
    return group_iterations(forward, tuple(first for first, _ in outputs))


@pytest.mark.parametrize(
    ("choose", "first", "count", "backward"),
    [
        (lambda states, _: states, 0, STEPS, False),
        (lambda states, _: states[::-1], 0, STEPS, True),
        (lambda states, _: states[1:-1], 1, STEPS - 2, False),
        (lambda states, _: states[4:], 4, STEPS - 4, False),
    ],
    ids=["all", "reversed", "inner", "one at first"],
)
def test_consecutive_iterations_are_one_range(choose, first, count, backward):
    """In the order of the loop or against it."""
    (found,) = stacked(choose)
    assert isinstance(found, IterationRange)
    assert (found.first, found.count, found.backward) == (first, count, backward)


def test_what_is_of_no_loop_stands_by_itself():
    """Before a range, between two, after one; so does the same iteration again."""
    start, states, last = stacked(lambda states, start: [start, *states, states[-1]])
    assert not isinstance(start, (IterationRange, IterationResult))
    assert isinstance(states, IterationRange)
    assert isinstance(last, IterationResult)
    assert last.iteration == STEPS - 1


def test_every_second_iteration_is_not_a_range():
    """How many there are at other sizes is not known."""
    with pytest.raises(RerollError) as caught:
        stacked(lambda states, _: states[1::2])
    assert str(caught.value) == (
        "the number of tensors that `aten.stack.default` takes depends on the sizes"
    )
