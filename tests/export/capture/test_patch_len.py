"""`len` in a model's code while it is traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgernn.export.capture.patch_len import patch_len


class Counting(nn.Module):
    """Returns the lengths of a tensor and of a list."""

    def forward(self, x, names):
        return len(x), len(names)


class Around(nn.Module):
    """Has such a module inside."""

    def __init__(self):
        super().__init__()
        self.inner = Counting()

    def forward(self, x):
        return self.inner(x, ["a", "b"])


def open_shape(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return the shape of a tensor of as many rows as one likes."""
    return "any", 2


Open = type("Open", (torch.Tensor,), {"shape": property(open_shape)})


def test_the_length_of_a_tensor_is_its_size():
    """Which may be any, where Python's own `len` wants a number; lists have their length."""
    model = Around()
    x: Any = torch.zeros(3, 2).as_subclass(Open)
    with patch_len(model):
        assert model(x) == ("any", 2)
    with pytest.raises(TypeError):
        model(x)


def test_the_code_gets_pythons_own_back():
    """Also where forward fails."""
    names, seen = Counting.forward.__globals__, []

    def fail() -> None:
        with patch_len(Around()):
            seen.append("len" in names)
            raise ValueError("no way")

    with pytest.raises(ValueError, match="no way"):
        fail()
    assert (seen, "len" in names) == ([True], False)
