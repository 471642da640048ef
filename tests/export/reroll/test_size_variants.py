"""A forward at two lengths, operator by operator."""

from __future__ import annotations

import pytest
import sympy
import torch

from edgernn.export.reroll.loop_structure import Invariant, IterationResult, RerollError
from edgernn.export.reroll.size_variants import fit_size
from tests.nets.loops import size_variants

STEPS, MORE = sympy.symbols("sequence more")


def results(forward):
    """Return the nodes that a forward returns, at all sizes."""
    return list(
        zip(*(module.graph.output_node().args[0] for module in forward.modules), strict=True)
    )


def test_a_loop_has_as_many_iterations_as_the_axis_has_steps():
    """At all sizes: five where the axis has five."""
    forward = size_variants(lambda net, x: net.states(x)[-1])
    (sizes,) = forward.loops
    assert [len(loop.iterations) for loop in sizes] == [5, 6]
    assert forward.iteration_count(0) == STEPS


def test_a_result_of_a_loop_is_named_by_its_iteration():
    """Counted from the first, or with the number of steps."""

    def run(net, x):
        states = net.states(x)
        return states[1], states[-1]

    forward = size_variants(run)
    (second, last) = map(forward.value, results(forward))
    assert isinstance(second, IterationResult)
    assert isinstance(last, IterationResult)
    assert (second.iteration, last.iteration) == (1, STEPS - 1)


def test_a_repetition_that_does_not_grow_is_no_loop():
    """A stack of equal layers stays as it is."""

    def run(net, x):
        for _ in range(5):
            x = torch.sin(x)
        return x * len(x[0])

    forward = size_variants(run)
    assert forward.loops == []
    assert sum(nodes[0].target is torch.ops.aten.sin.default for nodes in forward.outside) == 5


def test_what_all_iterations_compute_alike_stands_outside():
    """Once; each takes that of the first."""

    def run(net, x):
        h = net.start(x)
        for t in range(x.shape[1]):
            h = net.step(x[:, t], h) + torch.sin(net.linear.bias)
        return h

    forward = size_variants(run)
    (sine,) = (n[0] for n in forward.outside if n[0].target is torch.ops.aten.sin.default)
    assert sum(one == Invariant(sine) for own in forward.loops[0][0].operands for one in own) == 1
    assert forward.variants(sine)[0] is sine
    assert forward.position(0, sine) is None


def even(one, other):
    """Return a forward that does one thing for an even number of steps and else another."""
    return lambda net, x: (one if x.shape[1] % 2 == 0 else other)(net, x)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            even(lambda _, x: torch.sin(torch.sin(x)), lambda _, x: torch.sin(x)),
            "forward calls different operators at different sizes",
        ),
        (
            even(lambda _, x: torch.sin(x), lambda _, x: torch.cos(x)),
            "forward calls `aten.cos.default` or `aten.sin.default`, depending on the sizes",
        ),
        (
            lambda _, x: x * torch.tensor([float(x.shape[1])] * 3),
            "forward makes different constants at different sizes",
        ),
    ],
    ids=["more", "others", "constants"],
)
def test_operators_outside_of_loops_are_the_same_at_all_sizes(run, message):
    """Else it is not known what comes at a third size."""
    with pytest.raises(RerollError) as caught:
        size_variants(run)
    assert str(caught.value) == message


def test_a_value_is_the_same_at_all_sizes():
    """One of outside, or the result of one operator of one loop."""

    def pair(net, x):
        return torch.sin(x), torch.cos(x)

    def run(net, x):
        (sine, cosine), first = pair(net, x), net.states(x)[0]
        h = net.start(x)
        for t in range(x.shape[1]):
            h = torch.cos(h * x[:, t, :1])
        chosen = (sine, first) if x.shape[1] % 2 else (cosine, h)
        return *chosen, sine, cosine, first, h

    forward = size_variants(run)
    outside, inside, *_ = results(forward)
    for nodes in (outside, inside):
        with pytest.raises(RerollError) as caught:
            forward.value(nodes)
        name = nodes[0].name
        assert str(caught.value) == f"`{name}` is used differently at different sizes"


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ([4, 4, 4], 4),
        ([5, 6, 5], STEPS),
        ([4, 5, 4], STEPS - 1),
        ([12, 13, 14], STEPS + 2 * MORE - 7),
    ],
)
def test_a_size_follows_from_its_values_at_longer_axes(values, size):
    """The first value is that of the example, each other that with one axis longer by one."""
    assert fit_size(values, {"sequence": 5, "more": 7}, ["sequence", "more"]) == size
