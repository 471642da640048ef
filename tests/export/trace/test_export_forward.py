"""Forward in torch.export's graph, as a function of tensors."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.export import Dim

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.trace.export_forward import export_forward, result_paths


class Net(nn.Module):
    """Returns tensors in containers, and the same one twice."""

    def forward(self, x, pair):
        y = x + pair[0]
        return {"y": y, "both": (y, pair[1], 7)}


def exported(shapes, sizes=(2, 5)):
    x = torch.ones(*sizes)
    example = ExampleCall({"x": x, "pair": (x, torch.ones(sizes[0]))}, shapes)
    return export_forward(Net(), example, lambda _: contextlib.nullcontext(), lambda _: Dim.DYNAMIC)


def test_tensors_in_and_out():
    """Inputs in the order of the arguments; what is not a tensor is left out of the results."""
    program = exported({})
    assert len(program.graph_signature.user_inputs) == 3
    assert result_paths(program) == ['["y"]', '["both"][0]', '["both"][1]']


def test_dynamic_axes():
    """Those with a name in the example."""
    program = exported(dict.fromkeys(("x", "pair[0]"), ("batch", 5)) | {"pair[1]": ("batch",)})
    (constraint,) = {str(sizes) for sizes in program.range_constraints.values()}
    assert constraint.startswith("VR[")


def test_a_derived_axis_that_does_not_follow_is_refused():
    """The message names it."""
    shapes = {"x": ("batch", 5), "pair[0]": ("batch", 5), "pair[1]": ("2*batch",)}
    with pytest.raises(ValueError, match=r"axis 0 of `pair\[1\]` is not 2\*batch"):
        exported(shapes)
