"""The rules for the first run of a model on an example."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner
from tests.export.call.test_dynamic_axes import Base


class Strided(Base):
    """Takes nothing shorter than 300 steps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 300, 10)

    def forward(self, wave):
        return self.rnn(self.conv(wave).transpose(1, 2))[0]


class Silent(Base):
    def forward(self, x):
        self.rnn(x)


def test_specs_are_tried_at_longer_sizes():
    """A named axis stands for as many as forward needs."""
    given = example_from(Strided(), ["wave:float32[batch,1,sequence]"])
    example = find_dynamic_axes(ModuleRunner(Strided()), given)
    assert [str(leaf) for leaf in example.tensors] == ["wave:float32[batch,1,sequence]"]
    assert example.tensors[0].tensor.shape == (2, 1, 640)


def test_a_forward_without_tensors_is_refused():
    """There is nothing to write where forward returns nothing."""
    with pytest.raises(UnsupportedModelError) as info:
        find_dynamic_axes(ModuleRunner(Silent()), ExampleCall({"x": torch.zeros(2, 5, 4)}, {}))
    assert str(info.value) == (
        "`Silent.forward` returns no tensor. Return the outputs that the graph is to have."
    )
