"""Loops in a list of operators."""

from __future__ import annotations

import torch
from torch import fx

from edgernn.export.reroll.detect_loops import find_loops, hoist_invariants
from edgernn.export.reroll.loop_structure import (
    InductionVariable,
    Invariant,
    PreviousIteration,
    SameIteration,
    Varying,
)

ATEN = torch.ops.aten
ADD, SIN, SELECT = ATEN.add.Tensor, ATEN.sin.default, ATEN.select.int


class Listed:
    """A graph with an input `x` and what is called in it."""

    def __init__(self):
        self.graph = fx.Graph()
        self.x = self.graph.placeholder("x")
        self.nodes = []

    def call(self, target, *args):
        node = self.graph.call_function(target, args)
        self.nodes.append(node)
        return node

    def only_loop(self, length):
        (loop,) = find_loops(self.nodes, length)
        return loop


def test_an_iteration_takes_a_step_and_what_the_one_before_hands_on():
    """The first two iterations show where its operands come from."""
    listed = Listed()
    start = h = listed.graph.placeholder("h")
    for t in range(4):
        h = listed.call(ADD, listed.call(SELECT, listed.x, 1, t), h)
    loop = listed.only_loop(2)
    assert loop.operands == [
        [Invariant(listed.x), 1, InductionVariable(0, 1)],
        [SameIteration(0), PreviousIteration(0)],
    ]
    assert loop.carried == [(SameIteration(1), start)]
    assert loop.iterations == [listed.nodes[place : place + 2] for place in (0, 2, 4, 6)]
    assert loop.body == listed.nodes[:2]


def test_two_iterations_are_no_loop():
    """It takes three of them."""
    listed, h = Listed(), None
    for t in range(2):
        h = listed.call(ADD, listed.call(SELECT, listed.x, 1, t), h or listed.x)
    assert list(find_loops(listed.nodes, 2)) == []


def test_the_last_iteration_lacks_what_nobody_uses():
    """Operators whose results are dropped are not in the graph."""
    listed = Listed()
    h = listed.x
    for t in range(4):
        listed.call(ADD, listed.call(SELECT, listed.x, 1, t), h)
        if t < 3:
            h = listed.call(SIN, h)
    last = listed.only_loop(3).iterations[-1]
    assert last == [*listed.nodes[-2:], None]


def test_what_is_behind_a_loop_is_not_its_last_iteration():
    """Where the operators that it lacks would take a step that is not there."""
    listed = Listed()
    listed.x.meta["val"] = torch.zeros(2, 3)
    h = listed.x
    for t in range(3):
        h = listed.call(SIN, listed.call(ADD, listed.call(SELECT, listed.x, 1, t), h))
    listed.call(SIN, h)
    assert len(listed.only_loop(3).iterations) == 3


def test_a_value_may_be_handed_on_twice():
    """Two carried values then, one that is the other's of the iteration before."""
    listed = Listed()
    states = [listed.graph.placeholder("a"), listed.graph.placeholder("b")]
    for _ in range(4):
        states.append(listed.call(SIN, states[-2]))
    loop = listed.only_loop(1)
    assert loop.operands == [[PreviousIteration(1)]]
    assert loop.carried == [(SameIteration(0), states[1]), (PreviousIteration(0), states[0])]
    assert [loop.carried_into(k, 1) for k in range(4)] == states[:4]


def test_another_value_of_outside_in_each_iteration():
    """Where these come from is found later."""
    listed = Listed()
    others = [listed.graph.placeholder(f"k{t}") for t in range(3)]
    h = listed.x
    for other in others:
        h = listed.call(ADD, h, other)
    assert listed.only_loop(1).operands == [[PreviousIteration(0), Varying()]]


def test_the_same_value_of_outside_in_all_iterations():
    """It stays that value."""
    listed = Listed()
    h = k = listed.graph.placeholder("k")
    for _ in range(3):
        h = listed.call(ADD, listed.call(SIN, h), listed.x)
    loop = listed.only_loop(2)
    assert loop.operands == [[PreviousIteration(0)], [SameIteration(0), Invariant(listed.x)]]
    assert loop.carried == [(SameIteration(1), k)]


def test_other_numbers_are_another_loop():
    """Iterations have the same factors."""
    listed, h = Listed(), None
    for factor in (0.5, 0.25, 0.125):
        h = listed.call(ADD, h or listed.x, factor)
    assert list(find_loops(listed.nodes, 1)) == []


def test_a_number_that_does_not_grow_evenly_ends_a_loop():
    """The iterations before it are the loop."""
    listed = Listed()
    h = listed.x
    for t in (0, 1, 2, 4):
        h = listed.call(ADD, listed.call(SELECT, listed.x, 1, t), h)
    assert len(listed.only_loop(2).iterations) == 3


def test_the_same_length_twice():
    """One loop after the other."""
    listed = Listed()
    first = h = listed.x
    for _ in range(3):
        first = listed.call(SIN, first)
    for t in range(3):
        h = listed.call(ADD, h, t)
    assert [loop.body[0].target for loop in find_loops(listed.nodes, 1)] == [SIN, ADD]


def test_what_all_iterations_compute_is_hoisted():
    """It is that of the first iteration everywhere."""
    listed = Listed()
    for t in range(3):
        sine = listed.call(SIN, listed.x)
        listed.call(ADD, listed.call(SELECT, listed.x, 1, t), sine)
    first = listed.nodes[0]
    loop = hoist_invariants(listed.only_loop(3))
    assert loop.hoisted == dict.fromkeys(listed.nodes[::3], first)
    assert loop.operands[2] == [SameIteration(1), Invariant(first)]
