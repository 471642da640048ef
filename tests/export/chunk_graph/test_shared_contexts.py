"""Operators that read the past of one value keep it once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.export.chunk_form.behind_gru import SPEC, BehindGru
from tests.export.chunk_form.streams import check

Function = Callable[[BehindGru, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("function", "states"),
    [
        (lambda m, x: m.near(F.pad(x, (2, 0))) + m.far(F.pad(x, (6, 0))), ["far_context"]),
        (lambda m, x: m.near(x)[..., 4:] + m.far(x), ["far_context"]),
        (lambda m, x: m.near(F.pad(x, (2, 0), value=1.0))[..., 6:] + m.far(x), ["far_context"]),
        (
            lambda m, x: m.near(F.pad(x, (2, 0))) + m.far(F.pad(x, (6, 0), value=1.0)),
            ["near_context", "far_context"],
        ),
        (lambda m, x: x[..., : m.far(x).shape[-1]] + m.far(x), ["far_context"]),
    ],
    ids=["equal padding", "no padding", "one padded", "other padding", "a cropped skip"],
)
def test_a_value_has_one_context(function: Function, states: list[str]) -> None:
    """The longer one serves all, unless they start with other frames."""
    module = BehindGru(function, near=nn.Conv1d(4, 4, 3), far=nn.Conv1d(4, 4, 3, dilation=3))
    form = check(module, SPEC, axis=2, states=states)
    contexts = [node for node in form.step.graph if node.op_type == "Concat"]
    assert len(contexts) == len(states), "each context is copied once per step"
