"""Small models with a table, a recurrent layer and a head, and their artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

import edgernn
from edgernn.artifact import Artifact
from edgernn.report import ParityReport
from edgernn.runtime import golden_replay

KINDS = ("LSTM", "GRU", "bidirectional")


class Tagger(nn.Module):
    """Ids (batch, sequence) in, scores (batch, sequence, 5) out."""

    def __init__(self, kind: str, layers: int = 2) -> None:
        super().__init__()
        torch.manual_seed(3)
        both = kind == "bidirectional"
        layer = nn.LSTM if both else getattr(nn, kind)
        self.table = nn.Embedding(7, 4)
        self.rnn = layer(4, 6, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(12 if both else 6, 5)

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.head(self.rnn(self.table(ids))[0])
        return scores


class Learned(nn.Module):
    """Numbers (batch, sequence, 4) in, through a GRU that starts from a trained state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rnn = nn.GRU(4, 6, 2, batch_first=True)
        self.start = nn.Parameter(torch.randn(2, 1, 6))

    def forward(self, x: Tensor) -> Tensor:
        start = self.start.expand(-1, x.shape[0], -1).contiguous()
        y: Tensor = self.rnn(x, start)[0]
        return y


def tagged(kind: str, folder: Path, **options: Any) -> Artifact:
    """Export a tagger, proven, with the options of the contract."""
    ids = torch.zeros(2, 5, dtype=torch.int64)
    return edgernn.export_model(Tagger(kind), folder / "tagger.edgernn", inputs=(ids,), **options)


def learned(folder: Path, **options: Any) -> Artifact:
    """Export the model that starts from a trained state."""
    x = torch.zeros(2, 5, 4)
    return edgernn.export_model(Learned(), folder / "learned.edgernn", inputs=(x,), **options)


def replayed(artifact: Artifact) -> ParityReport:
    """Check the graphs with ONNX's own checker, and replay the recorded run in the runtime."""
    for kind in artifact.contract.graphs:
        onnx.checker.check_model(str(artifact.path / f"{kind}.onnx"), full_check=True)
    return golden_replay.golden_report(edgernn.load(artifact.path))


def ports(artifact: Artifact, kind: str = "sequence") -> list[str]:
    """Return the ports of one graph in words."""
    graph = artifact.contract.graphs[kind]
    return [str(port) for port in (*graph.inputs, *graph.outputs)]


def gaps(artifact: Artifact) -> str:
    """Return what a note says of the differences in the parity report."""
    assert artifact.parity is not None
    worst = {
        kind: max(check.difference for check in artifact.parity.checks if check.graph == kind)
        for kind in artifact.contract.graphs
    }
    graphs = " and ".join(f"{gap:.1e} in the {kind} graph" for kind, gap in worst.items())
    return f"the difference is at most {graphs}, over up to 1,000 steps."
