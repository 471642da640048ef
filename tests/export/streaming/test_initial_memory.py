"""The rules for what memory starts from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.streaming.find_memory import find_memory
from tests.export.streaming.keepers import Base, LeastSoFar


def initial(module, *shape):
    module = module.eval().requires_grad_(False)
    memory, _ = find_memory(module, example_from(module, (torch.randn(shape or (2, 4)),)))
    assert memory is not None
    return {one.path: one.initial for one in memory.tensors}


class Learned(Base):
    """Starts from a parameter that it spreads, where it has no state."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.randn(6))

    def before(self, x):
        if self.hidden is None:
            self.hidden = torch.tanh(self.start).expand(len(x), -1)
        return x


class Ones(nn.Module):
    """Starts from ones at the first call, as a flag says."""

    def __init__(self):
        super().__init__()
        self.ready = False
        self.gain: torch.Tensor

    def forward(self, x):
        if not self.ready:
            self.gain, self.ready = torch.ones(2, 4), True
        self.gain = 0.9 * self.gain + 0.1 * x
        return x * self.gain


class Filled(nn.Module):
    """Holds a value, not zero, that no call has changed."""

    def __init__(self):
        super().__init__()
        self.level = torch.full((2, 4), 0.25)
        self.count: torch.Tensor
        self.register_buffer("count", torch.tensor(5))

    def forward(self, x):
        self.count += 1
        self.level = self.level + x / self.count
        return self.level


def test_a_value_at_rest_is_the_initial_one():
    """Tensors and counts."""
    found = initial(Filled())
    assert torch.equal(found["level"], torch.full((2, 4), 0.25))
    assert found["count"] == 5


def test_what_the_first_call_makes_is_found():
    """Zeros, what is computed from a parameter, ones where a flag asks for them."""
    assert torch.equal(initial(Base())["hidden"], torch.zeros(2, 6))
    module = Learned()
    expected = torch.tanh(module.start.detach()).expand(2, -1)
    assert torch.equal(initial(module)["hidden"], expected)
    assert torch.equal(initial(Ones())["gain"], torch.ones(2, 4))


def test_a_start_that_is_not_finite_is_refused():
    """A contract holds no such number; a large one does as well, as the message says."""
    with pytest.raises(UnsupportedModelError) as caught:
        initial(LeastSoFar())
    assert str(caught.value) == (
        "`LeastSoFar.forward` keeps `self.least` from call to call, and no state can replace it: "
        "it starts from NaN or infinity, which no contract holds. Start from finite numbers, such "
        "as 1e30."
    )
    module = LeastSoFar()
    module.least.fill_(1e30)
    assert torch.equal(initial(module)["least"], torch.full((2, 4), 1e30))
