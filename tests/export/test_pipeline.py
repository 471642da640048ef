"""The way from a model to an artifact, and back to the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError
from edgernn.export import verify_artifact
from edgernn.export.options import GraphChoice
from edgernn.runtime.golden_replay import replay


@pytest.mark.parametrize("graph", ["sequence", "step"])
def test_one_graph_alone(tmp_path: Path, graph: GraphChoice) -> None:
    """An artifact of one graph replays its golden run and is proven against its model."""
    torch.manual_seed(0)
    model = nn.GRU(3, 4, 2)
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", graph=graph)
    assert sorted(file.name for file in artifact.path.glob("*.onnx")) == [f"{graph}.onnx"]
    assert max(check.difference for check in replay(edgernn.load(artifact.path))) < 1e-5
    report = verify_artifact(artifact, model)
    assert report.passed
    assert {check.graph for check in report.checks} == {graph}


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    """Two exports of one model differ in no byte of their graphs."""
    torch.manual_seed(0)
    model = nn.LSTM(3, 4, 2, batch_first=True)
    first = edgernn.export_model(model, tmp_path / "a.edgernn")
    second = edgernn.export_model(model, tmp_path / "b.edgernn")
    assert {k: v for k, v in first.digests.items() if k.endswith(".onnx")} == {
        k: v for k, v in second.digests.items() if k.endswith(".onnx")
    }


def test_a_wrong_vocabulary_is_refused_before_the_model_runs(tmp_path: Path) -> None:
    """Nobody waits for a trace to read that a file of symbols is empty."""

    class Counting(nn.GRU):
        calls = 0

        def forward(self, *args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            Counting.calls += 1
            return super().forward(*args)

    (tmp_path / "symbols.txt").touch()
    with pytest.raises(InputError, match="Symbol 0 of the vocabulary is empty"):
        edgernn.export_model(
            Counting(3, 4), tmp_path / "m.edgernn", vocabulary=tmp_path / "symbols.txt"
        )
    assert Counting.calls == 0
