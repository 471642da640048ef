"""A module whose loops over time are each one call."""

from __future__ import annotations

import pytest
import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.reroll.reroll import reroll
from tests.nets.loops import Net, example, refusal, same_as


def test_weights_keep_their_names():
    """Those that forward uses, and the loops beside them."""
    made = same_as(lambda net, x: net.linear(torch.cat([x[:, 0], net.states(x)[-1]], 1)))
    names = dict(made.named_parameters())
    assert {"linear.weight", "linear.bias"} <= {name.removeprefix("loop0.body.") for name in names}
    assert [name for name in names if "rows" in name] == []


def test_the_result_keeps_its_form():
    """Containers, and what is not a tensor in them."""

    def run(net, x):
        states = net.states(x)
        return {"output": torch.stack(states), "rest": (states[-1], 7, None)}

    made = same_as(run)
    result = made(x=torch.randn(2, 4, 3))
    assert list(result) == ["output", "rest"]
    assert result["rest"][1:] == (7, None)


def test_a_forward_that_needs_more_steps_is_seen_with_those_of_the_example():
    """A few are enough for others."""

    def run(net, x):
        if x.shape[1] < 7:
            raise ValueError("too short")
        return net.states(x)[-1]

    net, given = Net(run).eval(), example().resized({"sequence": 8})
    x = torch.randn(3, 11, 3)
    with torch.no_grad():
        torch.testing.assert_close(reroll(net, given)(x=x), net(x))


def test_a_batch_that_forward_looks_at_is_a_number_that_follows_it():
    """As `len` makes it one."""

    def run(net, x):
        h = torch.zeros(len(x), 4)
        for step in x.unbind(1):
            h = net.step(step, h)
        return h

    same_as(run)


def test_a_module_that_torch_cannot_export_is_refused_as_any_other():
    """With what torch says."""
    with pytest.raises(UnsupportedModelError) as caught:
        reroll(Net(lambda net, x: x if x.sum() > 0 else -x).eval(), example())
    assert str(caught.value).startswith(
        "`Net` cannot be traced: forward branches on the values of a tensor at "
    )


def test_what_is_otherwise_at_another_length_is_refused():
    """It is run at other sizes and compared, whatever was found at the first."""
    assert refusal(lambda net, x: net.states(x)[x.shape[1] // 2]) == (
        "forward does something else at batch 1, sequence 1"
    )


def test_what_fails_at_another_length_is_refused():
    """Where the original does not."""
    assert refusal(lambda net, x: net.states(x)[min(2, x.shape[1] - 1)]) == (
        "forward does something else at batch 1, sequence 1"
    )


def test_axes_that_cannot_grow_alone_are_refused():
    """A loop along one that takes steps of another."""

    def run(net, x, y):
        h = net.start(x)
        for t in range(y.shape[1]):
            h = net.step(x[:, t] + y[:, t], h)
        return h

    assert refusal(run, y=True) == "forward fails where only `more` is 6"


def test_the_module_is_left_as_it_was():
    """Whatever its forward keeps on it."""

    def run(net, x):
        net.last = net.states(x)[-1]
        return net.last

    net = Net(run).eval()
    reroll(net, example())
    assert not hasattr(net, "last")


@pytest.mark.parametrize(
    "start",
    [
        lambda x: torch.full((x.shape[0], 4), 0, dtype=torch.float32),
        lambda x: torch.full_like(x[:, 0, :1], 1).expand(-1, 4),
        lambda x: torch.arange(4, dtype=torch.float32).expand(x.shape[0], 4),
    ],
    ids=["full", "full_like", "arange"],
)
def test_floats_made_from_whole_numbers_stay_floats(start):
    """A tensor of dtype float32 is not made an integer because its number is one."""

    def run(net, x):
        h, states = start(x), []
        for t in range(x.shape[1]):
            h = torch.tanh(h @ net.linear.weight[:, 3:] + x[:, t, :1])  # takes only floats
            states.append(h)
        return torch.stack(states, 1)

    same_as(run)
