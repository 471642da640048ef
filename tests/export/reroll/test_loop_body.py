"""One iteration of a loop as a graph."""

from __future__ import annotations

import torch
from torch import fx

from edgernn.export.reroll.loop_body import build_loop_body
from edgernn.export.reroll.loop_structure import InductionVariable, StepInput
from tests.nets.loops import refusal, same_as, size_variants


def looped(each, before=lambda net, x: None):
    """Return a forward that calls `each(net, x, h, t, k)` for every step; k is made before."""

    def run(net, x):
        h, k = net.start(x), before(net, x)
        for t in range(x.shape[1]):
            h = each(net, x, h, t, k)
        return h

    return run


def test_an_iteration_takes_steps_states_and_constants():
    """And returns the next states and what is collected."""

    def run(net, x):
        h, k, states = net.start(x), torch.sin(x.mean(1)), []
        for t in range(x.shape[1]):
            h = net.step(x[:, t] + k, h)
            states.append(torch.cos(h))
        return h, torch.stack(states)

    forward = size_variants(run)
    places = [place for place, node in enumerate(forward.loops[0][0].body) if "cos" in node.name]
    body = build_loop_body(forward, 0, places)
    assert [node.name for node in body.graph.find_nodes(op="placeholder")] == ["x0", "h0", "k0"]
    assert [type(one) for one in body.sequences] == [StepInput]
    assert (body.states, body.collected, body.preallocated) == ((0,), tuple(places), {})
    assert list(map(str, body.constants)) == ["sin"]

    weights = forward.modules[0]
    x, h, k = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 3)
    after, collected = fx.GraphModule(weights, body.graph)(x, h, k)
    bias, weight = map(weights.get_parameter, ("module.linear.bias", "module.linear.weight"))
    expected = torch.tanh(bias + torch.cat([x + k, h], 1) @ weight.T)
    torch.testing.assert_close((after, collected), (expected, torch.cos(expected)))


def test_the_number_of_the_iteration_is_a_tensor():
    """Where an operator takes one."""
    forward = size_variants(looped(lambda net, x, h, t, k: torch.sin(h) * (2 * t + 1)))
    assert build_loop_body(forward, 0, []).sequences == (InductionVariable(1, 2),)


def test_a_loop_that_takes_nothing_counts_its_iterations():
    """Else it would not be known how many there are."""
    forward = size_variants(looped(lambda net, x, h, t, k: torch.sin(h)))
    assert build_loop_body(forward, 0, []).sequences == (InductionVariable(0, 1),)


def test_a_size_that_follows_the_sequence_is_that_of_a_constant():
    """An iteration that looks at all of the steps knows how many there are."""

    def each(net, x, h, t, k):
        spread = h.unsqueeze(1).expand(x.shape[0], x.shape[1], 4)
        return torch.tanh((spread + k).mean(1))

    same_as(looped(each, lambda net, x: torch.sin(x[:, :, :1])))


def test_a_state_that_grows_is_refused():
    """Whatever reads what was concatenated to it."""

    def run(net, x):
        h, memory = net.start(x), torch.zeros(x.shape[0], 1, 4)
        for t in range(x.shape[1]):
            h = net.step(x[:, t], h + memory.mean(1))
            memory = torch.cat([memory, h.unsqueeze(1)], 1)
        return h

    assert refusal(run) == "what an iteration passes on grows from one to the next"


def test_a_tensor_that_is_read_in_between_is_refused():
    """What it holds later is not known in an iteration."""

    def run(net, x):
        h, out = net.start(x), torch.zeros(x.shape[0], x.shape[1], 4)
        for t in range(x.shape[1]):
            out[:, t] = net.step(x[:, t], h)
            h = out.sum(1)
        return h

    assert refusal(run) == "a tensor is read before the loop has written all of it"


def test_a_size_that_follows_the_iteration_is_refused():
    """Its results would be of another shape each time."""
    each = looped(lambda net, x, h, t, k: h + torch.sin(h).new_ones(3, t + 1).sum())
    assert refusal(each) == "`aten.ones.default` takes the number of the iteration"


def test_a_number_that_grows_otherwise_is_refused():
    """Only integers that follow the sizes are known at other sizes."""
    each = looped(lambda net, x, h, t, k: torch.sin(h) * (1 / x.shape[1]))
    assert refusal(each) == (
        "an iteration passes 0.2 or 0.16666666666666666 to `aten.mul.Tensor`, depending on the "
        "sizes"
    )


def test_the_number_of_steps_alone_is_refused():
    """Where nothing that an iteration takes has that size."""
    each = looped(lambda net, x, h, t, k: torch.sin(h) * x.shape[1])
    assert refusal(each) == "an iteration takes the size of `sequence`"


def test_a_size_of_something_else_is_refused():
    """Where nothing that an iteration takes has that size."""

    def run(net, x, y):
        h = torch.zeros(4)
        for t in range(x.shape[1]):
            h = torch.sin(h * y.shape[1]) + x[:, t].sum()
        return h

    assert refusal(run, y=True) == "an iteration takes the size of axis 1 of `tensors_1`"
