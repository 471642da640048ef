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
