"""A forward with a call for each of its loops."""

from __future__ import annotations

import pytest
import torch

from edgernn.export.capture.loop_call import TimeLoop
from tests.nets.loops import refusal, same_as


def loops_of(made):
    """Return its loops."""
    return [module for module in made.modules() if isinstance(module, TimeLoop)]


def reading(read):
    """Return a forward that returns `read(net, x, states)`, the states those after each step."""
    return lambda net, x: read(net, x, net.states(x))


def writing(write, more=0):
    """Return a forward that returns what `write(out, h, t)` writes into as many steps as x has."""

    def run(net, x):
        h, out = net.start(x), torch.ones(x.shape[0], x.shape[1] + more, 4)
        for t in range(x.shape[1]):
            h = net.step(x[:, t], h)
            write(out, h, t)
        return out

    return run


def put(out, index, h):
    out[:, index] = h


@pytest.mark.parametrize(
    "read",
    [
        lambda net, x, states: torch.stack(states, -2),
        lambda net, x, states: torch.cat(states, -1),
        lambda net, x, states: torch.stack([net.start(x), *states, states[-1]], 1),
        lambda net, x, states: torch.stack(states[::-1], 1),
        lambda net, x, states: torch.cat([net.start(x), *states[1:]]),
        lambda net, x, states: (states[0], states[-1]),
    ],
    ids=["stack", "cat", "around", "reversed", "tail", "items"],
)
def test_what_the_iterations_leave(read):
    """In one tensor, in a part of it, or by itself."""
    (loop,) = loops_of(same_as(reading(read)))
    assert (loop.axes, loop.states, loop.along, loop.lag, loop.backward) == (
        (1,),
        1,
        "sequence",
        0,
        False,
    )


@pytest.mark.parametrize(
    ("write", "more"),
    [
        (lambda out, h, t: put(out, t, h), 0),
        (lambda out, h, t: put(out, t + 1, h), 2),
        (lambda out, h, t: put(out, -1 - t, h), 1),
        (lambda out, h, t: put(out, slice(t, t + 1), h.unsqueeze(1)), 0),
    ],
    ids=["all", "some", "backward", "slices"],
)
def test_what_the_iterations_write(write, more):
    """All of a tensor, or the steps of one that holds something else around them."""
    same_as(writing(write, more))


def test_what_is_put_behind_something():
    """The tensor before the loop comes first."""

    def run(net, x):
        h, out = net.start(x), torch.sin(x[:, :1, :1]).expand(x.shape[0], 1, 4)
        for t in range(x.shape[1]):
            h = net.step(x[:, t], h)
            out = torch.cat([out, h.unsqueeze(1)], 1)
        return out

    same_as(run)


def test_a_loop_backward_over_a_part_of_the_steps():
    """It has a step less than the axis, and begins with the last."""

    def run(net, x):
        h = net.start(x)
        for t in reversed(range(1, x.shape[1])):
            h = net.step(x[:, t], h * t)
        return h

    (loop,) = loops_of(same_as(run))
    assert (loop.axes, loop.along, loop.lag, loop.backward) == ((1, 0), "sequence", 1, True)


def test_loops_along_axes_of_their_own():
    """One after the other; the second starts from what the first left."""

    def run(net, x, y):
        h = net.states(x)[-1]
        for t in range(y.shape[1]):
            h = net.step(y[:, t] * h[:, :1], h)
        return h

    assert [loop.along for loop in loops_of(same_as(run, y=True))] == ["sequence", "more"]


def test_sizes_outside_of_loops_follow_the_example():
    """An integer that an operator takes."""
    same_as(reading(lambda net, x, states: states[-1] * (2 * x.shape[1] - 1)))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            reading(lambda net, x, states: states),
            "forward returns one tensor for each step",
        ),
        (
            reading(lambda net, x, states: states[-1] * (x.shape[1] / 2)),
            "forward passes 2.5 or 3.0 to `aten.mul.Tensor`, depending on the sizes",
        ),
        (
            reading(lambda net, x, states: torch.block_diag(*states)),
            "the number of tensors that `aten.block_diag.default` takes depends on the sizes",
        ),
    ],
    ids=["list", "number", "block_diag"],
)
def test_what_has_no_form_for_any_number_of_steps_is_refused(run, message):
    """Each by what it does."""
    assert refusal(run) == message


def snapshots(choose):
    """Return a forward that returns `choose` of copies of what was written, after each step."""

    def run(net, x):
        h, out, copies = net.start(x), torch.zeros(x.shape[0], x.shape[1], 4), []
        for t in range(x.shape[1]):
            h = net.step(x[:, t], h)
            out[:, t] = h
            copies.append(out.clone())
        return choose(copies)

    return run


@pytest.mark.parametrize(
    "choose",
    [lambda copies: (copies[2], copies[-1]), torch.stack],
    ids=["one", "all"],
)
def test_a_tensor_that_is_kept_half_written_is_refused(choose):
    """It is there only when the loop is over."""
    assert refusal(snapshots(choose)) == "a tensor is read before the loop has written all of it"
