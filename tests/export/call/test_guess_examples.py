"""The rules for the sizes that a hand-written step seems to take."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.export.call.guess_examples import guess_step_sizes


class Joined(nn.Module):
    """One product of x and h side by side; a head over both comes first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(57 + 12, 4)
        self.step = nn.Linear(57 + 12, 12)

    def forward(self, x, hidden):
        both = torch.cat([x, hidden], 1)
        return self.head(both), self.step(both).tanh()


class Apart(nn.Module):
    """One product of x and one of h."""

    def __init__(self):
        super().__init__()
        self.of_x = nn.Linear(5, 24)
        self.of_h = nn.Linear(8, 24)

    def forward(self, x, h):
        r, z, n = (self.of_x(x) + self.of_h(h)).chunk(3, 1)
        return z.sigmoid() * h + r.sigmoid() * n.tanh()


def test_sizes_of_one_product():
    """The state is as wide as the last result, not as the first product's."""
    assert guess_step_sizes(Joined(), ["x", "hidden"]) == (57, 12)


def test_sizes_of_two_products():
    """Gates are counted out."""
    assert guess_step_sizes(Apart(), ["x", "h"]) == (5, 8)


def test_nothing_is_said_without_a_state():
    """Names that say nothing of a state, or of nothing else, have no sizes."""
    assert guess_step_sizes(Joined(), ["x", "y"]) is None
    assert guess_step_sizes(Joined(), ["hidden"]) is None
    assert guess_step_sizes(nn.Linear(3, 2), ["input", "hidden"]) is None
