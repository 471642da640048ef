"""The rules for weights that are stored once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import edgernn


class Tied(nn.Module):
    """An embedding and a head of one weight, two layers of one set of weights."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 20)
        self.one, self.two = nn.GRU(20, 20, batch_first=True), nn.GRU(20, 20, batch_first=True)
        for name, weight in list(self.one.named_parameters()):
            setattr(self.two, name, weight)
        self.head = nn.Linear(20, 50)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.two(self.one(self.embed(ids))[0])[0])


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    torch.manual_seed(0)
    return edgernn.export_model(Tied(), tmp_path_factory.mktemp("tied") / "m")


def test_weights_that_are_shared_are_stored_once(tied):
    """The sequence graph has no more numbers than the model has parameters, and shapes."""
    graph = onnx.load(tied.sequence).graph
    matrices = [tuple(one.dims) for one in graph.initializer if np.prod(one.dims) > 200]
    assert sorted(matrices) == [(1, 60, 20), (1, 60, 20), (50, 20)]


def test_the_other_of_a_pair_is_a_transpose(tied):
    """Rows are looked up in what is stored; the head takes it turned."""
    graph = onnx.load(tied.sequence).graph
    (turned,) = (one for one in graph.node if one.name.endswith("_transposed"))
    (looked_up,) = (one for one in graph.node if one.op_type == "Gather" and one.input[1] == "ids")
    assert turned.op_type == "Transpose"
    assert turned.input[0] == looked_up.input[0]
