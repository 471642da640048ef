"""A loop over time as one call."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.export.capture.loop_call import LoopOperands, TimeLoop
from edgernn.export.capture.recurrent_calls import RecurrentCallMode
from edgernn.export.ir.operator_kinds import LOOP


class Body(nn.Module):
    """Adds a step and a constant to the state; returns it, and twice of it to be collected."""

    def forward(self, x0, h0, k0):
        h = h0 + x0 + k0
        return h, 2 * h


X, H, K = torch.arange(24.0).reshape(2, 4, 3), torch.ones(2, 3), torch.full((2, 3), 0.5)


def loop(axis=1):
    return TimeLoop(Body(), [axis], 1, "sequence", 0, backward=False)


def test_a_loop_runs_its_body_once_for_each_step():
    """It returns the last state, and what was collected as (steps, …)."""
    last, collected = loop()(X, H, K)
    states = H.unsqueeze(1) + (X + K.unsqueeze(1)).cumsum(1)
    torch.testing.assert_close(last, states[:, -1])
    torch.testing.assert_close(collected, 2 * states.transpose(0, 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_steps_are_along_any_axis(axis):
    """The others are those of a step."""
    expected = loop()(X, H, K)
    torch.testing.assert_close(loop(axis)(X.movedim(1, axis), H, K), expected)


def test_a_loop_of_no_steps_leaves_the_state():
    """And collects nothing, of the shape of a step."""
    last, collected = loop()(X[:, :0], H, K)
    assert torch.equal(last, H)
    assert collected.shape == (0, 2, 3)


def test_a_state_of_one_row_is_widened_to_all_rows():
    """As the first iteration would, so that it has one shape throughout."""
    calls = []

    def note(call, proceed):
        calls.append(call)
        return proceed(call.states)

    with RecurrentCallMode(note):
        narrow = loop()(X, H[:1], K)
    torch.testing.assert_close(narrow, loop()(X, H, K))
    assert [tuple(state.shape) for state in calls[0].states] == [(2, 3)]


def test_a_capture_sees_a_loop_as_a_call():
    """With the loop and what it is called with, and may give it other states."""
    calls = []

    def instead(call, proceed):
        calls.append(call)
        return proceed(tuple(state + 1 for state in call.states))

    module = loop()
    with RecurrentCallMode(instead):
        got = module(X, H, K)
    (call,) = calls
    assert (call.function, call.loop, call.operands) == (
        LOOP,
        module,
        LoopOperands((X,), (H,), (K,)),
    )
    torch.testing.assert_close(got, module(X, H + 1, K))


def test_what_an_iteration_gives_is_known_without_its_values():
    """Shapes and dtypes, for a graph of it."""
    operands = LoopOperands((X.double(),), (H,), (K,))
    assert [(one.shape, one.dtype) for one in loop().results(operands)] == [
        ((2, 3), torch.float64)
    ] * 2
