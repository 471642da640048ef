"""The rules for an index that is a tensor of one integer."""

from __future__ import annotations

import pytest
import torch

from edgernn.export.capture.element_index import read_element, write_element

PLACES = (0, 2, -1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "index",
    [
        lambda one: one,
        lambda one: (slice(None), one),
        lambda one: (..., one),
        lambda one: (1, one),
        lambda one: (slice(0, 2), None, one),
    ],
)
def test_reading_is_what_torch_does(index, place):
    """Along any axis, beside slices, integers, new axes and an ellipsis."""
    x = torch.randn(3, 4, 5)
    found = index(torch.tensor(place))
    assert torch.equal(read_element(x, found), x[found])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [7.0, torch.tensor(2.0), torch.randn(5), torch.randn(3, 5)])
def test_writing_is_what_torch_does(value, place):
    """Numbers and tensors that broadcast, in place."""
    x = torch.randn(3, 4, 5)
    expected = x.clone()
    expected[:, torch.tensor(place)] = value
    assert write_element(x, (slice(None), torch.tensor(place)), value) is None
    assert torch.equal(x, expected)


def test_other_indices_are_left_to_torch():
    """Slices, integers, vectors of integers, and masks; and writing to a part of an axis."""
    x, one = torch.randn(3, 4, 5), torch.tensor(1)
    for index in (1, slice(0, 2), torch.tensor([0, 1]), (one, torch.tensor([0])), x > 0, True):
        assert read_element(x, index) is NotImplemented
    assert write_element(x, (slice(0, 2), one), 1.0) is NotImplemented
    assert write_element(x, (one, one), 1.0) is NotImplemented
