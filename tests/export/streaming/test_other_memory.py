"""The rules for memory that is not in numbers."""

from __future__ import annotations

import pytest
import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.streaming.find_memory import find_memory
from tests.export.streaming import keepers

DATA = (torch.randn(2, 4), torch.randn(2, 6))


def memory_of(module):
    module = module.eval().requires_grad_(False)
    memory, _ = find_memory(module, example_from(module, DATA))
    return memory


CASES = {
    keepers.Text: "phase",
    keepers.Length: "log",
    keepers.Array: "level",
    keepers.Absent: "first",
    keepers.Marked: "warm",
}


@pytest.mark.parametrize("make", CASES)
def test_what_no_tensor_holds_is_refused_by_name(make):
    """A text, a length, an array, a value that is there or not, a mark: calls read it."""
    with pytest.raises(UnsupportedModelError) as caught:
        memory_of(make())
    assert str(caught.value) == (
        f"`{make.__name__}.forward` keeps `self.{CASES[make]}` from call to call, and no state can "
        "replace it: later results depend on something other than numbers that change from call to "
        "call, such as a text, the length of a list, an array of NumPy, or whether a call is the "
        "first. Keep a tensor instead, such as the number of calls, and choose with "
        "torch.where(condition, a, b)."
    )


def test_a_tensor_that_counts_is_a_state():
    """The remedy of the message."""
    memory = memory_of(keepers.Counted())
    assert memory is not None
    assert [one.path for one in memory.tensors] == ["calls"]


def test_what_nobody_reads_is_not_refused():
    """A list that grows and a table that is made once: found, and without a tensor."""
    module = keepers.Cached().eval().requires_grad_(False)
    memory, _ = find_memory(module, example_from(module, DATA[:1]))
    assert memory is not None
    assert memory.tensors == ()
    assert sorted(memory.changed) == ["calls", "last", "seen", "table"]
