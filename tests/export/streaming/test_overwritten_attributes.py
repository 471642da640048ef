"""The rules for the attributes and buffers that forward gives new values."""

from __future__ import annotations

import pytest
import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.streaming.overwritten_attributes import overwritten_attributes
from tests.export.streaming import keepers


def overwritten(module):
    module = module.eval().requires_grad_(False)
    return overwritten_attributes(module, example_from(module, torch.randn(2, 4)))


def test_new_values_and_new_content_are_told():
    """An attribute, a buffer, a list, an object; what forward only reads is none."""
    assert overwritten(keepers.Base()) == ["hidden"]
    assert sorted(overwritten(keepers.WrittenBuffer())) == ["hidden", "past"]
    assert sorted(overwritten(keepers.Held())) == ["hidden", "kept"]
    assert sorted(overwritten(keepers.Cached())) == ["calls", "last", "seen", "table"]


def test_a_weight_that_forward_writes_is_refused():
    """Weights are constants of a graph; the module has its own again."""
    module = keepers.WrittenWeight()
    bias = module.cell.bias_hh.detach().clone()
    with pytest.raises(UnsupportedModelError) as caught:
        overwritten(module)
    assert str(caught.value) == (
        "`WrittenWeight.forward` keeps `self.cell.bias_hh` from call to call, and no state can "
        "replace it: it is a weight. Take it as arguments and return the next values, each named "
        'with states={"INPUT": "OUTPUT"} where it is not recognised.'
    )
    assert bias.shape == module.cell.bias_hh.shape
