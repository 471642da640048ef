"""The rules for functions that torch's exporter writes wrongly."""

from __future__ import annotations

import pytest
import torch

from edgernn.export.capture.exporter_fixes import exporter_fix

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
