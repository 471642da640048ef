"""What the iterations of a loop take and write step by step."""

from __future__ import annotations

from typing import Any

import pytest
import sympy
import torch

from edgernn.export.reroll.loop_structure import (
    IterationResult,
    PreallocatedOutput,
    RerollError,
    Varying,
)
from edgernn.export.reroll.stepwise_access import (
    IterationRange,
    collected_input,
    group_iterations,
    preallocated_outputs,
    step_inputs,
)
from tests.nets.loops import refusal, size_variants

STEPS = sympy.Symbol("sequence")


def loop(each, initial=None):
    """Return a forward that calls `each(net, x, h, t)` for every step."""

    def run(net, x):
        h = net.start(x) if initial is None else initial(net, x)
        for t in range(x.shape[1]):
            h = each(net, x, h, t)
        return h

    return run


def taken(each):
    """Return what the operator of an iteration that takes steps takes them of."""
    forward = size_variants(loop(each))
    found = [step_inputs(forward, 0, index) for index in range(len(forward.loops[0][0].body))]
    return next(steps for steps in found if steps is not None)


@pytest.mark.parametrize(
    ("step", "first", "backward"),
    [
        (lambda x, t: x[:, t], 0, False),
        (lambda x, t: x.select(-2, t), 0, False),
        (lambda x, t: x[:, t : t + 1].squeeze(1), 0, False),
        (lambda x, t: x[:, x.shape[1] - 1 - t], STEPS - 1, True),
        (lambda x, t: x[:, -1 - t], STEPS - 1, True),
    ],
    ids=["forward", "negative axis", "slice", "backward", "from the end"],
)
def test_an_iteration_takes_one_step(step, first, backward):
    """Of an axis counted from the front, from a step counted from the front."""
    (steps,) = taken(lambda net, x, h, t: net.step(step(x, t), h))
    assert (steps.axis, steps.first, steps.backward) == (1, first, backward)


def test_an_iteration_takes_a_window():
    """As many steps as are in it, each of them one further in the next iteration."""
    pad = torch.nn.functional.pad

    def each(net, x, h, t):
        return net.step(pad(x, (0, 0, 0, 1))[:, t : t + 2].sum(1), h)

    assert [(one.first, one.stride) for one in taken(each)] == [(0, 1), (1, 1)]


def test_an_iteration_takes_every_other_step():
    """From one to the next it moves on by two."""
    (steps,) = taken(lambda net, x, h, t: net.step(torch.cat([x, x], 1)[:, 2 * t], h))
    assert (steps.first, steps.backward, steps.stride) == (0, False, 2)


def test_the_end_of_an_axis_of_any_size_is_not_known():
    """Where the loop runs along another axis."""

    def run(net, x, y):
        h = net.start(x)
        for t in range(y.shape[1]):
            h = net.step(torch.cat([x, x], 1)[:, -1 - t] + y[:, t], h)
        return h

    assert refusal(run, y=True) == "a loop begins at step -1 of an axis of any size"


def another(choose):
    """Return a forward with a loop over the steps that `choose` gives it from two others."""

    def run(net, x):
        first = net.states(x)
        second, k = [], net.start(x)
        for t in range(x.shape[1]):
            k = torch.sin(k + x[:, t, :1])
            second.append(k)
        h = net.start(x)
        for state in choose(first, second):
            h = torch.cos(h * state)
        return h, *first, *second

    return run


def results_of(choose):
    """Return what the loop over other loops takes."""
    forward = size_variants(another(choose))
    number = len(forward.loops) - 1
    (place,) = [
        (operator, index)
        for operator, operands in enumerate(forward.loops[number][0].operands)
        for index, operand in enumerate(operands)
        if isinstance(operand, Varying)
    ]
    return collected_input(forward, number, *place)


def test_an_iteration_takes_a_result_of_another_loop():
    """Of its last iteration first, where it runs against it."""
    steps = results_of(lambda first, _: first[::-1])
    assert steps.source.loop == 0
    assert (steps.axis, steps.first, steps.backward) == (0, STEPS - 1, True)


def test_the_other_loop_is_the_same_at_all_sizes():
    """Which one it is must not depend on how many steps there are."""
    with pytest.raises(RerollError) as caught:
        results_of(lambda first, second: first if len(first) % 2 else second)
    assert str(caught.value) == (
        "an iteration takes the results of different operators, depending on the sizes"
    )


def test_a_weight_for_each_step_is_no_step():
    """How many there are does not grow."""

    def run(net, x):
        h = net.start(x)
        for t in range(x.shape[1]):
            h = torch.sin(h * net.rows[t])
        return h, torch.stack(list(net.rows))

    assert refusal(run) == "`module_rows_0` is a different value in each iteration"


def preallocated(write, start):
    """Return the tensor that a loop writes."""

    def run(net, x):
        h, out = net.start(x), start(x)
        for t in range(x.shape[1]):
            h = net.step(x[:, t], h)
            out = write(out, h, t)
        return out

    (found,) = preallocated_outputs(size_variants(run), 0).values()
    return found


def written(index, value=lambda h: h):
    def write(out, h, t):
        out[index(t)] = value(h)
        return out

    return write


def zeros(x, more=0):
    return torch.zeros(x.shape[0], x.shape[1] + more, 4)


@pytest.mark.parametrize(
    ("write", "start", "expected"),
    [
        (written(lambda t: (slice(None), t)), zeros, (1, 0, False, False)),
        (
            written(lambda t: (slice(None), t + 1)),
            lambda x: zeros(x, 1),
            (1, 1, False, False),
        ),
        (written(lambda t: (slice(None), -1 - t)), zeros, (1, STEPS - 1, True, False)),
        (
            written(lambda t: (slice(None), slice(t, t + 1)), lambda h: h.unsqueeze(1)),
            zeros,
            (1, 0, False, True),
        ),
    ],
    ids=["step", "from the second", "backward", "slice"],
)
def test_a_tensor_is_written_step_by_step(write, start, expected):
    """From a step counted from the front."""
    found = preallocated(write, start)
    assert isinstance(found, PreallocatedOutput)
    assert (found.axis, found.first, found.backward, found.keeps_axis) == expected


def test_what_is_put_in_front_is_carried_over():
    """It is not a tensor that grows at its end."""
    with pytest.raises(ValueError, match="not enough values"):
        preallocated(
            lambda out, h, _: torch.cat([h.unsqueeze(1), out], 1),
            lambda x: torch.zeros(x.shape[0], 0, 4),
        )


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
