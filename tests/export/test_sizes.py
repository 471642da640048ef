"""The rules for `len` in forward."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.export.trace.sizes import dynamic_len


class Counts(nn.Module):
    def forward(self, x, names=("a", "b")):
        return x.view(len(x), -1), len(names)


def test_len_of_a_tensor_stays_a_size():
    """Traced under `dynamic_len`, `len` leaves the axis dynamic."""
    model, x = Counts(), torch.ones(4, 3)
    shapes = {"x": {0: torch.export.Dim.DYNAMIC}}
    with dynamic_len(model):
        program = torch.export.export(model, (x,), dynamic_shapes=shapes, strict=False)
    assert program.module()(torch.ones(7, 3))[0].shape == (7, 3)


def test_python_s_own_is_back_afterwards():
    """Nothing is left in the model's code, and other things have their length as ever."""
    model = Counts()
    with dynamic_len(model):
        assert "len" in globals()
        assert model(torch.ones(4, 3))[1] == 2
    assert "len" not in globals()
