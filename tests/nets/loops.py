"""What the tests of loops over time share: a module around a function, seen at several sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.reroll.loop_structure import RerollError
from edgernn.export.reroll.reroll import RerolledModule, reroll
from edgernn.export.reroll.size_variants import SizeVariants
from edgernn.export.reroll.unroll import unroll

__all__ = ["Net", "example", "refusal", "same_as", "size_variants"]


class Net(nn.Module):
    """Calls `run(net, x)`, or `run(net, x, y)`; `step` is one of a recurrence, `rows` are weights.

    Args:
        run: What forward does.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(3 + 4, 4)
        self.rows = nn.ParameterList(torch.randn(4) for _ in range(8))
        self._run = run

    def start(self, x: Tensor) -> Tensor:
        """Return zeros: (batch, 4)."""
        return torch.zeros(x.shape[0], 4)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state from (batch, 3) and (batch, 4)."""
        return torch.tanh(self.linear(torch.cat([x, h], 1)))

    def states(self, x: Tensor) -> list[Tensor]:
        """Return the state after each step of x (batch, sequence, 3)."""
        h, states = self.start(x), []
        for t in range(x.shape[1]):
            h = self.step(x[:, t], h)
            states.append(h)
        return states

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        return self._run(self, x) if y is None else self._run(self, x, y)


def example(y: bool = False) -> ExampleCall:
    """Return x (batch, sequence, 3), and if asked y (batch, more, 3)."""
    tensors, shapes = {"x": torch.randn(2, 5, 3)}, {"x": ("batch", "sequence", 3)}
    if y:
        tensors["y"], shapes["y"] = torch.randn(2, 7, 3), ("batch", "more", 3)
    return ExampleCall(tensors, dict(shapes))


def size_variants(run: Callable[..., Any]) -> SizeVariants:
    """Return what `run` does with 5 steps and with 6, side by side."""
    net, short = Net(run).eval(), example()
    modules = [unroll(net, short), unroll(net, short.resized({"sequence": 6}))]
    return SizeVariants(modules, short.sizes, ["sequence"])


def refusal(run: Callable[..., Any], y: bool = False) -> str:
    """Return why a forward cannot be rerolled."""
    with pytest.raises(RerollError) as caught:
        reroll(Net(run).eval(), example(y))
    return str(caught.value)


def same_as(run: Callable[..., Any], y: bool = False) -> RerolledModule:
    """Return `run` with its loops as one call each, once it has given the same at other sizes."""
    net, given = Net(run).eval(), example(y)
    made = reroll(net, given)
    for batch, steps in ((1, 1), (3, 9)):
        kwargs = given.resized({"batch": batch, "sequence": steps, "more": steps + 1}).kwargs
        with torch.no_grad():
            torch.testing.assert_close(made(**kwargs), net(**kwargs))
    return made
