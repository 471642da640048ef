"""The way from a model to an artifact, and back to the model."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import InputError
from edgernn.export import verify_artifact
from edgernn.export.options import GraphChoice
from edgernn.runtime.golden_replay import replay

pytestmark = pytest.mark.forms


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


class Loop(nn.Module):
    """A cell that forward calls for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[0], 4)
        outputs = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1)


def logged(caplog: pytest.LogCaptureFixture, level: str) -> list[str]:
    """Return what the logger of the export said at a level."""
    records = [one for one in caplog.records if one.name == "edgernn.export"]
    return [record.getMessage() for record in records if record.levelname == level]


def stages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the stages that were logged, in order."""
    return list(dict.fromkeys(text.partition(": ")[0] for text in logged(caplog, "INFO")))


def test_stages_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The logger `edgernn.export` says at level INFO what is done, in that order."""
    caplog.set_level(logging.INFO, "edgernn")
    artifact = edgernn.export_model(Loop(), tmp_path / "m.edgernn")
    assert stages(caplog) == [
        "reading the model",
        "finding inputs and axes",
        "looking for loops over time",
        "tracing forward",
        "building the graphs",
        "writing the graphs",
        "proving the graphs",
        "writing the artifact",
    ]
    assert logged(caplog, "DEBUG") == []
    assert artifact.parity is not None
    proofs = [text for text in logged(caplog, "INFO") if ": " in text]
    count = sum(not check.form for check in artifact.parity.checks)
    forms = [f"proving the graphs: {form.file}" for form in artifact.forms]
    assert forms
    assert proofs == [f"proving the graphs: {done + 1} of {count}" for done in range(count)] + forms


def test_details_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At level DEBUG the sizes that were tried, the axes, the nodes and every check are logged."""
    caplog.set_level(logging.DEBUG, "edgernn")
    artifact = edgernn.export_model(nn.LSTM(3, 4), tmp_path / "m.edgernn")
    details = logged(caplog, "DEBUG")
    assert artifact.parity is not None
    checks = [*map(str, artifact.parity.checks)]
    assert details[-len(checks) :] == checks
    assert "forward runs with input.shape[0] = 7" in details
    assert (
        "forward fails with input.shape[2] = 4: input.size(-1) must be equal to input_size. "
        "Expected 3, got 4"
    ) in details
    assert (
        "forward takes input:float32[sequence,batch,3], hx[0]:float32[1,batch,4], "
        "hx[1]:float32[1,batch,4]"
    ) in details
    assert "sequence.onnx has 2 nodes" in details


def test_stages_of_a_file_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An ONNX file goes through the same stages, without a trace."""
    artifact = edgernn.export_model(nn.GRU(3, 4), tmp_path / "m.edgernn")
    caplog.clear()
    caplog.set_level(logging.INFO, "edgernn")
    edgernn.export_model(artifact.path / "sequence.onnx", tmp_path / "n.edgernn")
    assert stages(caplog) == [
        "reading the model",
        "finding inputs and axes",
        "building the graphs",
        "writing the graphs",
        "proving the graphs",
        "writing the artifact",
    ]
