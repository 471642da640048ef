"""The rules for functions that torch's exporter writes wrongly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgernn.export.capture.exporter_fixes import exporter_fix, patch_len

X = torch.linspace(-1, 1, 12).reshape(2, 1, 6)


@pytest.mark.parametrize("dim", [0, 1, 2, -2, (0, 1), [1, -1]])
def test_squeeze_is_torch_s(dim):
    """Axes of one entry go, others stay, however they are counted."""
    answer = exporter_fix("squeeze", (X, dim), {})
    assert torch.equal(answer, X.squeeze(tuple(dim) if isinstance(dim, list) else dim))
    assert torch.equal(exporter_fix("squeeze", (X,), {"dim": dim}), answer)


def test_clamp_takes_bounds_of_two_kinds():
    """A whole and a real bound are both given as real ones."""
    assert torch.equal(exporter_fix("clamp", (X, 0, 0.5), {}), X.clamp(0.0, 0.5))
    assert torch.equal(exporter_fix("clamp", (X,), {"min": -0.5, "max": 1}), X.clamp(-0.5, 1.0))


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((2,), {}),
        (([3], [2], [1]), {}),
        ((2,), {"stride": 1, "padding": 1, "dilation": 2, "ceil_mode": True}),
        ((2, []), {"ceil_mode": True}),
    ],
)
def test_max_pool1d_is_torch_s(args, kwargs):
    """Sequences are pooled at any length, batched or not."""
    assert torch.equal(
        exporter_fix("max_pool1d", (X, *args), kwargs), torch.max_pool1d(X, *args, **kwargs)
    )
    assert torch.equal(
        exporter_fix("max_pool1d", (X[0], *args), kwargs), torch.max_pool1d(X[0], *args, **kwargs)
    )


@pytest.mark.parametrize(
    ("name", "args"),
    [("squeeze", (X,)), ("clamp", (X, 0, 1)), ("clamp", (X, 0.5)), ("relu", (X,)), ("clamp", (1,))],
)
def test_what_is_right_is_left_alone(name, args):
    """A call that torch's exporter writes rightly is not answered."""
    assert exporter_fix(name, args, {}) is NotImplemented


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
