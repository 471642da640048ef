"""The rules for example calls at other sizes."""

from __future__ import annotations

import pytest
import torch

from edgernn.export.call.example_call import ExampleCall, resize_tensor
from tests.nets.packed_ids import shapes


def test_resizing_repeats_the_numbers():
    """A smaller axis is cut, a larger one goes round; the others stay, in one block of memory."""
    assert resize_tensor(torch.tensor([[1, 2, 3]]), {1: 2}).tolist() == [[1, 2]]
    larger = resize_tensor(torch.tensor([[1, 2, 3]]), {1: 5, 0: 2})
    assert larger.tolist() == [[1, 2, 3, 1, 2]] * 2
    assert larger.is_contiguous()


def test_a_dynamic_axis_is_resized_wherever_it_stands():
    """One symbol has one size on every tensor; a symbol that nobody has changes nothing."""
    example = ExampleCall(
        {"x": torch.zeros(2, 5, 3), "hx": (torch.zeros(1, 2, 4),)},
        {"x": ("batch", "sequence", 3), "hx[0]": (1, "batch", 4)},
    )
    assert shapes(example.resized({"batch": 7, "width": 9})) == {"x": (7, 5, 3), "hx[0]": (1, 7, 4)}
    assert shapes(example) == {"x": (2, 5, 3), "hx[0]": (1, 2, 4)}
    assert example.has_sequence
    assert not example.with_constants({"sequence": 5}).has_sequence


@pytest.mark.parametrize(("steps", "wanted"), [(3, [3, 2]), (9, [9, 2]), (1, [1, 1])])
def test_lengths_fit_the_steps(steps, wanted):
    """The longest is as long as the sequence, none is longer."""
    example = ExampleCall(
        {"x": torch.zeros(2, 5), "n": torch.tensor([5, 2])},
        {"x": ("batch", "sequence"), "n": ("batch",)},
        lengths=("n",),
    )
    assert example.resized({"sequence": steps}).kwargs["n"].tolist() == wanted


def test_lengths_of_more_sequences_come_longest_first():
    """Repeated to fill, lengths are sorted again: forward may want them so."""
    example = ExampleCall({"n": torch.tensor([5, 2])}, {"n": ("batch",)}, lengths=("n",))
    assert example.resized({"batch": 4}).kwargs["n"].tolist() == [5, 5, 2, 2]


def test_a_settled_axis_is_a_number_everywhere():
    """An axis of `constants` has that size and no name on any tensor."""
    example = ExampleCall(
        {"x": torch.zeros(2, 5), "h": torch.zeros(1, 2)},
        {"x": ("batch", "sequence"), "h": (1, "batch")},
        constants={"batch": 3},
    )
    settled = example.with_constant_axes()
    assert [str(leaf) for leaf in settled.tensors] == ["x:float32[3,sequence]", "h:float32[1,3]"]
    assert shapes(settled) == {"x": (3, 5), "h": (1, 3)}
    assert settled.constants == {}
