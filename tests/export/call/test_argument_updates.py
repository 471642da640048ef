"""The rules for arguments that forward writes into."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.export.call.argument_updates import (
    ArgumentUpdates,
    find_argument_updates,
    return_argument_updates,
)
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner, run_forward


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)


class Returned(Cell):
    def forward(self, x, cache):
        cache[:] = self.cell(x, cache)
        return x * 2, cache


class Silent(Cell):
    def forward(self, x, cache):
        cache.copy_(self.cell(x, cache))
        return cache * 2


class OneRow(Cell):
    def forward(self, x, held):
        held[0][1] = self.cell(x, held[0][1].clone())
        return held[0][1].clone(), held


class Scaled(Cell):
    """Scales its inputs in place, and masks one of them by another."""

    def forward(self, x, mask, h):
        x -= 1
        mask.mul_(0.5)
        return self.cell(x * mask, h)


X, H = torch.ones(2, 4), torch.zeros(2, 6)


@pytest.mark.parametrize(
    ("module", "inputs", "paths", "carried"),
    [
        (Returned(), (X, H), ("cache",), {"cache": "[1]"}),
        (Silent(), (X, H), ("cache",), {"cache": "cache"}),
        (OneRow(), (X, [torch.zeros(2, 2, 6)]), ("held[0]",), {"held[0]": "[1][0]"}),
        (Scaled(), (X, X, H), ("x", "mask"), {}),
    ],
)
def test_memory_is_told_from_inputs_that_are_changed_in_place(module, inputs, paths, carried):
    """An argument is memory where its new value depends on the others."""
    module = module.eval().requires_grad_(False)
    assert find_argument_updates(module, example_from(module, inputs)) == ArgumentUpdates(
        paths, carried
    )


def test_what_is_written_is_returned_and_the_argument_stays():
    """Forward writes into a copy, and returns it under the argument's path."""
    module = Silent().eval().requires_grad_(False)
    example = example_from(module, (X, H))
    assert return_argument_updates(module, example) == {"cache": "cache"}
    results = run_forward(module, example).results
    assert list(results) == ["", "cache"]
    assert torch.equal(results["cache"], module.cell(X, H))
    assert torch.equal(results[""], 2 * results["cache"])
    given = example.kwargs["cache"].clone()
    module(X, given)
    assert torch.equal(given, H)
    assert ModuleRunner(module).name == "Silent.forward"
