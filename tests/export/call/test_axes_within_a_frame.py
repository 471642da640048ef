"""Which axis is time where layers run along several, and what the others are then."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgernn.export.call.dynamic_axes import find_dynamic_axes
from edgernn.export.call.example_from_inputs import example_from
from edgernn.export.call.forward_run import ModuleRunner


class Base(nn.Module):
    """A GRU over (batch, sequence, 4); subclasses say what is around it."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=True)


def found(module: nn.Module, *tensors: torch.Tensor) -> list[str]:
    example = find_dynamic_axes(ModuleRunner(module.eval()), example_from(module, tensors))
    return [str(leaf) for leaf in example.tensors]


class Bins(Base):
    """Runs every bin of (batch, sequence, bins, 4) over time."""

    def forward(self, x):
        rows = x.transpose(1, 2).flatten(0, 1)
        return self.rnn(rows)[0].unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class Frames(Base):
    """Runs every frame of (batch, sequence, bins, 4) along its bins, then all frames."""

    def __init__(self):
        super().__init__()
        self.time = nn.GRU(3, 3, batch_first=True)

    def forward(self, x):
        ends = self.rnn(x.flatten(0, 1))[1]
        return self.time(ends.view(x.shape[0], x.shape[1], 3))[0]


class CellOfBins(nn.Module):
    """Loops over time with a cell that runs every bin."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 3)

    def forward(self, x):
        h = x.new_zeros(x.shape[0] * x.shape[2], 3)
        for frame in x.unbind(1):
            h = self.cell(frame.flatten(0, 1), h)
        return h


@pytest.mark.parametrize("kind", [Bins, CellOfBins])
def test_an_axis_of_rows_over_time_is_constant(kind: type[nn.Module]):
    """The state has a row for every bin, so that it would grow with them."""
    example = find_dynamic_axes(
        ModuleRunner(kind()), example_from(kind(), (torch.randn(2, 7, 5, 4),))
    )
    assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,sequence,5,4]"]
    assert example.notes == (
        "Axis 2 of `x` is the constant 5, as in the example: a layer over time has a row of its "
        "state for each entry, and of a state only the batch may be dynamic.",
    )


def test_an_axis_of_steps_within_a_frame_is_dynamic():
    """A layer along the bins takes any number of them, and a name leaves rows dynamic too."""
    assert found(Frames(), torch.randn(2, 7, 5, 4)) == ["x:float32[batch,sequence,x_dim2,4]"]
    named = ["x:float32[batch,sequence,bins,4]"]
    example = find_dynamic_axes(ModuleRunner(Bins()), example_from(Bins(), named))
    assert [str(leaf) for leaf in example.tensors] == named


class BinsFirst(nn.Module):
    """Takes (batch, bins, sequence, 4): runs along the bins of every frame, then every bin."""

    def __init__(self, both_ways):
        super().__init__()
        self.along = nn.GRU(4, 3, batch_first=True, bidirectional=both_ways)
        self.time = nn.GRU(6 if both_ways else 3, 3, batch_first=True)

    def forward(self, x):
        batch, bins, steps, width = x.shape
        rows = self.along(x.transpose(1, 2).reshape(batch * steps, bins, width))[0]
        rows = rows.view(batch, steps, bins, -1).transpose(1, 2).reshape(batch * bins, steps, -1)
        return self.time(rows)[0].view(batch, bins, steps, 3)


def test_steps_are_where_no_layer_looks_ahead():
    """A layer may run along the bins of a frame in both directions, and in front of time."""
    assert found(BinsFirst(True), torch.randn(2, 5, 7, 4)) == ["x:float32[batch,5,sequence,4]"]


def test_an_axis_that_may_be_time_as_well_is_told():
    """Two layers run forward along an axis each; the first is taken, and the note says how else."""
    module = BinsFirst(False)
    example = find_dynamic_axes(
        ModuleRunner(module), example_from(module, (torch.randn(2, 5, 7, 4),))
    )
    assert [str(leaf) for leaf in example.tensors] == ["x:float32[batch,sequence,7,4]"]
    assert example.notes == (
        "Axis 2 of `x` is the constant 7, as in the example: a layer over time has a row of its "
        "state for each entry, and of a state only the batch may be dynamic. Where it is the axis "
        'of time, name it: inputs=["x:float32[2,5,sequence,4]"].',
    )
    named = ["x:float32[2,5,sequence,4]"]
    again = find_dynamic_axes(ModuleRunner(module), example_from(module, named))
    assert [str(leaf) for leaf in again.tensors] == named
