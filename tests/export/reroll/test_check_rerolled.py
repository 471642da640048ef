"""Loops whose iterations change later: exported for the steps they hold for, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from edgernn.export.code_lines.source_line import SourceLine
from edgernn.export.reroll.loop_structure import RerollError
from edgernn.export.reroll.reroll import RerolledModule, reroll
from edgernn.export.trace.bounds import Bounds
from tests.nets.loops import Net, example

Run = Callable[[Net, Tensor], Any]


def each(net: Net, x: Tensor, change: Callable[[int, Tensor, list[Tensor]], Tensor]) -> Tensor:
    """Return the state after each step, changed by its place before it goes on."""
    h, states = net.start(x), [net.start(x)]
    for t in range(x.shape[1]):
        h = net.step(x[:, t], change(t, h, states))
        states.append(h)
    return torch.stack(states[1:], 1)


def every_tenth(net: Net, x: Tensor) -> Tensor:
    return each(net, x, lambda t, h, _: 2 * h if t % 10 == 9 else h)


def given_eight(net: Net, x: Tensor) -> Tensor:
    h, states = net.start(x), []
    for t in range(x.shape[1]):
        h = net.step(x[:, t] if t < 8 else h[:, :3], h)
        states.append(h)
    return torch.stack(states, 1)


def burnt_in(net: Net, x: Tensor) -> Tensor:
    return torch.stack(net.states(x)[8:], 1)


def last_six(net: Net, x: Tensor) -> Tensor:
    return torch.stack(net.states(x)[-6:], 1)


def positions(net: Net, x: Tensor) -> Tensor:
    rows = torch.arange(32.0).reshape(32, 1)
    return each(net, x, lambda t, h, _: h + rows[t])


def made(run: Run, steps: int) -> RerolledModule:
    return reroll(Net(run).eval(), example().resized({"sequence": steps}))


def test_what_changes_after_the_steps_that_were_seen_is_refused() -> None:
    """With the number of steps from which on it does, and the line that is new there."""
    with pytest.raises(RerollError) as caught:
        made(given_eight, 5)
    line = SourceLine(__file__, given_eight.__code__.co_firstlineno + 3)
    assert str(caught.value) == (
        f"forward does something else from batch 2, sequence 9 on, where it reaches {line}"
    )


def test_without_a_new_line_there_is_none() -> None:
    """Where the last steps are cut out, the same lines run."""
    with pytest.raises(RerollError) as caught:
        made(last_six, 5)
    assert str(caught.value) == "forward does something else from batch 3, sequence 7 on"


@pytest.mark.parametrize("run", [given_eight, burnt_in])
def test_an_example_after_the_change_is_enough(run: Run) -> None:
    """Unrolled at its own length a loop is right from some number of steps on."""
    net = Net(run).eval()
    given = example().resized({"sequence": 14})
    found = reroll(net, given)
    first = found.bounds.least["sequence"]
    assert (found.bounds.most, 8 <= first <= 12) == ({}, True)
    for steps in (first, 13, 60):
        kwargs = given.resized({"sequence": steps}).kwargs
        with torch.no_grad():
            torch.testing.assert_close(found(**kwargs), net(**kwargs))


def test_what_changes_again_and_again_is_refused_at_any_length() -> None:
    """The next change is beyond every example."""
    with pytest.raises(RerollError, match="from batch 2, sequence 10 on, where it reaches "):
        made(every_tenth, 14)


def test_steps_that_forward_has_no_weights_for_are_a_bound() -> None:
    """It fails for more."""
    assert made(positions, 5).bounds == Bounds(most={"sequence": 32})


def test_a_comparison_that_compares_nothing_is_a_failure() -> None:
    """As where forward gives infinity at every size."""
    with pytest.raises(RerollError) as caught:
        made(lambda net, x: net.states(x)[-1] / 0, 5)
    assert str(caught.value) == "forward returns no finite numbers at any size that was tried"
