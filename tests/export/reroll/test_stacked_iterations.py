"""What consecutive iterations computed, in a stack."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgernn.export.reroll.size_expressions import Size
from edgernn.export.reroll.size_variants import Item, NotRolledError
from edgernn.export.reroll.stacked_iterations import Run, runs
from tests.nets.loops import aligned

STEPS = Size(0, (("sequence", 1),))


def stacked(choose):
    """Return what a stack of `choose(states, start)` takes."""

    def run(net, x):
        states = net.states(x)
        return torch.stack(choose(states, net.start(x))), torch.stack(states)

    forward = aligned(run)
    outputs: list[Any] = [program.graph.output_node().args[0] for program in forward.programs]
    return runs(forward, tuple(first for first, _ in outputs))


@pytest.mark.parametrize(
    ("choose", "low", "count", "backward"),
    [
        (lambda states, _: states, Size(0), STEPS, False),
        (lambda states, _: states[::-1], Size(0), STEPS, True),
        (lambda states, _: states[1:-1], Size(1), STEPS - 2, False),
        (lambda states, _: states[4:], Size(4), STEPS - 4, False),
    ],
    ids=["all", "reversed", "inner", "one at first"],
)
def test_consecutive_iterations_are_one_run(choose, low, count, backward):
    """In the order of the loop or against it."""
    (run,) = stacked(choose)
    assert isinstance(run, Run)
    assert (run.low, run.count, run.backward) == (low, count, backward)


def test_what_is_of_no_loop_stands_by_itself():
    """Before a run, between two, behind one; so does the same iteration again."""
    start, states, last = stacked(lambda states, start: [start, *states, states[-1]])
    assert not isinstance(start, (Run, Item))
    assert isinstance(states, Run)
    assert isinstance(last, Item)
    assert last.iteration == STEPS - 1


def test_every_second_iteration_is_no_run():
    """How many there are at other sizes is not known."""
    with pytest.raises(NotRolledError) as caught:
        stacked(lambda states, _: states[1::2])
    assert (
        str(caught.value) == "`aten.stack.default` takes another number of tensors at other sizes"
    )
