"""ONNX files exported and shown: what the tests of files of others share."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgernn.artifact import Artifact
from edgernn.errors import EdgernnError, UnsupportedModelError
from edgernn.export.pipeline import export_model

REFERENCE = "the original file in ONNX Runtime"


TOKENS = torch.arange(10).reshape(2, 5)


class Tagger(nn.Module):
    """An embedding, a layer and a head; the state stays inside."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU | nn.RNN], **how: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.rnn = kind(6, 5, batch_first=True, **how)
        self.head = nn.Linear(10 if how.get("bidirectional") else 5, 3)

    def forward(self, tokens):
        return self.head(self.rnn(self.embedding(tokens))[0])


class Carrier(nn.Module):
    """Two stacked layers, time-major, that take and return their state."""

    def __init__(self, returned: bool = True) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 5, 2)
        self.returned = returned

    def forward(self, x, h0, c0):
        y, (h, c) = self.lstm(x, (h0, c0))
        return (y, h, c) if self.returned else y


def from_torch(path: Path, module: nn.Module, args: tuple[Any, ...], **how: Any) -> Path:
    """Write `module` with one of torch's own exporters."""
    torch.manual_seed(0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), args, str(path), verbose=False, **how)
    return path


def export(file: Path, **how: Any) -> Artifact:
    """Export an ONNX file into the folder beside it."""
    return export_model(file, file.with_suffix(".edgernn"), **how)


def shown(artifact: Artifact, kind: str = "sequence") -> list[str]:
    """Return the ports of one graph in words."""
    graph = artifact.contract.graphs[kind]
    return [str(one) for one in (*graph.inputs, *graph.outputs)]


def refusal(file: Path, kind: type[EdgernnError] = UnsupportedModelError, **how: Any) -> str:
    """Return the message that `file` is refused with; nothing may be left on disk."""
    before = set(file.parent.iterdir())
    with pytest.raises(kind) as info:
        export(file, **how)
    assert set(file.parent.iterdir()) == before
    return str(info.value)
