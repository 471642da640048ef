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
    """Ids (batch, sequence) in, scores (batch, sequence, scores) out.

    Args:
        kind: `LSTM`, `GRU`, `RNN`, or `bidirectional` for an LSTM in both directions.
        layers: How many layers.
        bidirectional: Whether they run in both directions.
        symbols: The ids are below this.
        width: The size of an embedding.
        hidden: The size of a state.
        scores: The size of an output.
    """

    def __init__(
        self,
        kind: str,
        layers: int = 2,
        bidirectional: bool = False,
        *,
        symbols: int = 7,
        width: int = 4,
        hidden: int = 6,
        scores: int = 5,
    ) -> None:
        super().__init__()
        torch.manual_seed(3)
        both = bidirectional or kind == "bidirectional"
        layer = nn.LSTM if kind == "bidirectional" else getattr(nn, kind)
        self.table = nn.Embedding(symbols, width)
        self.rnn = layer(width, hidden, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(2 * hidden if both else hidden, scores)

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.head(self.rnn(self.table(ids))[0])
        return scores


class StatefulTagger(nn.Module):
    """Ids in, scores and states out; the states may be given."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        self.rnn = nn.LSTM(4, 3, batch_first=True)
        self.head = nn.Linear(3, 7)

    def forward(self, tokens, hx: tuple[Tensor, Tensor] | None = None):
        y, hx = self.rnn(self.emb(tokens), hx)
        return self.head(y), hx


IDS = torch.zeros(2, 5, dtype=torch.int64)
STATES = ["hx[0]:float32[1,batch,3]", "hx[1]:float32[1,batch,3]"]
"""An example and specs of the states of `StatefulTagger`."""


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
