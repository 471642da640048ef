"""A module with another forward than its class gives it."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from edgernn.export.call.override_forward import override_forward, subclass_with_forward


def doubled(self, x):
    return 2 * nn.Linear.forward(self, x)


def test_a_module_gets_another_forward_and_keeps_its_class():
    """Only the instance changes; its signature is the one that was given."""
    linear = nn.Linear(2, 2)
    x = torch.ones(1, 2)
    before = linear(x)
    override_forward(linear, doubled, inspect.signature(doubled))
    assert torch.equal(linear(x), 2 * before)
    assert isinstance(linear, nn.Linear)
    assert type(linear).__name__ == "Linear"
    assert [*inspect.signature(linear.forward).parameters] == ["x"]


def test_a_subclass_has_the_name_and_attributes_that_are_given():
    """Without a name it has that of its base."""
    kind = subclass_with_forward(
        nn.Linear, doubled, inspect.signature(doubled), "Twice", {"factor": 2}
    )
    assert (kind.__name__, kind.factor) == ("Twice", 2)
    assert issubclass(kind, nn.Linear)
