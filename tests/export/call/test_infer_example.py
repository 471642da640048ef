"""The rules for examples that are found from a module alone."""

from __future__ import annotations

import torch
from torch import nn

from edgernn.export.call.infer_example import infer_example
from tests.export.call.test_dynamic_axes import Layer, shapes_of


class Told(nn.Module):
    """Its first weight takes more than its input."""

    def __init__(self):
        super().__init__()
        self.input_size = 5
        self.mix = nn.Linear(8, 3)
        self.rnn = nn.GRU(3, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(self.mix(torch.cat([x, x[..., :3]], -1)))[0]


class Stacked(nn.Module):
    """Two cells, their states stacked in one tensor."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(4, 3), nn.GRUCell(3, 3)])

    def forward(self, x, hx=None):
        hx = x.new_zeros(2, x.shape[0], 3) if hx is None else hx
        h0 = self.cells[0](x, hx[0])
        h1 = self.cells[1](h0, hx[1])
        return h1, torch.stack([h0, h1])


def test_an_example_is_inferred():
    """Layers and forward's signature are enough for both axes."""
    assert [str(leaf) for leaf in infer_example(Layer()).tensors] == ["x:float32[batch,sequence,4]"]
    given = [str(leaf) for leaf in infer_example(nn.LSTM(4, 3)).tensors]
    assert given == [
        "input:float32[sequence,batch,4]",
        "hx[0]:float32[1,batch,3]",
        "hx[1]:float32[1,batch,3]",
    ]


def test_the_model_tells_its_input_size():
    """Where the first weight does not fit, `input_size` and its like are tried."""
    assert shapes_of(Told()) == ["x:float32[batch,sequence,5]"]


def test_states_of_several_cells_are_tried_in_one_tensor():
    """An argument that is called like a state may take those of all cells."""
    assert shapes_of(Stacked()) == ["x:float32[batch,4]", "hx:float32[2,batch,3]"]
