"""The rules for archives in which torch has written out a loop over time."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.source.read_torchscript import read_torchscript
from edgernn.export.source.unrolled_loop import describe_unrolled_loop
from tests.nets.product_cell import ProductCell


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = ProductCell()

    def forward(self, x):
        h = torch.zeros(x.shape[1], 4)
        for x_t in x.unbind(0):
            h = self.cell(x_t, h)
        return h


def archived(module, record, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_torchscript(record(module, x))[0]


def test_a_loop_that_tracing_wrote_out():
    """One weight multiplied again and again is a loop over time; its steps are counted."""
    x = torch.ones(6, 2, 4)
    traced = archived(Looped(), torch.jit.trace, x)
    assert describe_unrolled_loop(traced, ExampleCall({"x": x}, {})) == (
        "The archive multiplies by `cell.product.weight` 6 times in a row: torch.jit.trace wrote a "
        "loop over time out at 6 steps, for which alone it is right. Export the model from its "
        'code (the nn.Module itself, or its state_dict with module="FILE.py:FACTORY"), or archive '
        "it with torch.jit.script, which keeps the loop."
    )


def test_a_loop_that_scripting_kept():
    """A scripted loop was not written out."""
    x = torch.ones(6, 2, 4)
    module = archived(Looped(), lambda module, _: torch.jit.script(module), x)
    assert describe_unrolled_loop(module, ExampleCall({"x": x}, {})) is None
