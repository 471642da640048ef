"""The rules for memory that earlier calls left on a module."""

from __future__ import annotations

import torch

from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.streaming.reset_memory import reset_memory, reset_memory_with_guess
from tests.export.streaming.keepers import Base, Cached, Layers


def left_over(make, *shape):
    module = make().eval().requires_grad_(False)
    with torch.no_grad():
        module(torch.randn(shape))
    return module


def test_memory_of_an_earlier_call_is_reset():
    """A state left over from one sequence is none of the next one's, however many there are."""
    module = left_over(Layers, 1, 7, 4)
    note = "`self.hidden` held what an earlier call had left; the graphs start without it."
    assert reset_memory(module, example_from(module, torch.randn(3, 5, 4))) == (note,)
    assert module.hidden is None
    module = left_over(Layers, 7, 7, 4)
    assert reset_memory_with_guess(module) == (note,)
    assert module.hidden is None


class Zeroed(Base):
    """Does not take None."""

    def __init__(self):
        super().__init__()
        self.hidden = torch.zeros(1, 6)

    def before(self, x):
        assert self.hidden is not None
        return x


def test_a_value_at_rest_is_kept_where_forward_does_not_take_none():
    """What the module holds is what it starts from, zero or not."""
    module = left_over(Zeroed, 1, 4)
    held = module.hidden
    assert reset_memory(module, example_from(module, torch.randn(1, 4))) == ()
    assert module.hidden is held


def test_what_is_not_memory_is_not_reset():
    """A table that forward only reads, and what it writes and never reads, stay."""
    module = left_over(Cached, 2, 4)
    kept = dict(vars(module))
    assert reset_memory(module, example_from(module, torch.randn(2, 4))) == ()
    assert vars(module) == kept
