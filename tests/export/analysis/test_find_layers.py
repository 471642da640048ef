"""The layers of a graph, from the nodes that have weights."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgernn.export.analysis.find_layers import layers_of
from edgernn.export.pipeline import export_model
from edgernn.layer import Layer
from tests.nets.tagger import Tagger


class Wide(nn.Module):
    """Convolutions, a norm and a layer in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1, groups=2)
        self.norm = nn.LayerNorm(8)
        self.rnn = nn.GRU(8, 6, bidirectional=True, batch_first=True)
        self.heads = nn.ModuleList([nn.Linear(12, 5), nn.Linear(5, 2, bias=False)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores, `(batch, sequence, 2)`."""
        x = self.norm(self.conv(x.transpose(1, 2)).transpose(1, 2))
        x, _ = self.rnn(x)
        scores: torch.Tensor = self.heads[1](self.heads[0](x))
        return scores


def exported(tmp_path, model, **options):
    return export_model(model, tmp_path / "m.edgernn", verify=False, **options)


def test_layers_of_a_model(tmp_path):
    """Each kind with its sizes, in the order in which the model runs them."""
    inputs = "x:float32[batch,sequence,4]"
    assert exported(tmp_path, Wide(), inputs=inputs).layers == (
        Layer("Conv1d", "conv", 4, 8, kernel_size=(3,)),
        Layer("LayerNorm", "norm", 8, 8),
        Layer("GRU", "rnn", 8, 6, bidirectional=True),
        Layer("Linear", "heads.0", 12, 5),
        Layer("Linear", "", 5, 2),
    )


class Loop(nn.Module):
    """A layer with a projection, then a loop of a cell and a head that runs twice a step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(3, 4, 2, proj_size=2)
        self.cell = nn.GRUCell(2, 5)
        self.head = nn.Linear(5, 5, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(sequence, batch, 5)`."""
        x, _ = self.encoder(x)
        h = torch.zeros(x.shape[1], 5)
        steps = []
        for step in range(x.shape[0]):
            h = self.cell(x[step], h)
            steps.append(self.head(self.head(h)))
        return torch.stack(steps)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_layers_in_a_loop(tmp_path):
    """Layers are those that the model's author wrote, whatever operators they become."""
    inputs = "x:float32[sequence,batch,3]"
    assert exported(tmp_path, Loop(), inputs=inputs).layers == (
        Layer("LSTM", "encoder", 3, 2, num_layers=2),
        Layer("GRUCell", "cell", 2, 5),
        Layer("Linear", "head", 5, 5),
    )


def test_layers_of_packed_sequences(tmp_path):
    """Lengths change nothing."""
    artifact = exported(tmp_path, Tagger("GRU"), lengths=True)
    assert [layer.kind for layer in artifact.layers] == ["Embedding", "GRU", "Linear"]


@pytest.mark.parametrize("graph", ["both", "sequence", "step"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_layers_are_those_of_the_model(tmp_path, graph, precision):
    """Neither the graphs that are kept nor their precision changes the list."""
    artifact = exported(tmp_path, Tagger("LSTM"), graph=graph, precision=precision)
    listed = json.loads((artifact.path / "contract.json").read_text())["layers"]
    assert [str(layer) for layer in artifact.layers] == [
        "Embedding 7 × 4",
        "LSTM 4 → 6, 2 layers",
        "Linear 6 → 5",
    ]
    assert [layer["name"] for layer in listed] == ["table", "rnn", "head"]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_layers_of_a_file(tmp_path, precision):
    """A finished graph has the same, in each precision."""
    artifact = exported(tmp_path, Tagger("GRU"), precision=precision)
    assert [str(layer) for layer in layers_of(ir.load(artifact.sequence))] == [
        "Embedding 7 × 4",
        "GRU 4 → 6, 2 layers",
        "Linear 6 → 5",
    ]
