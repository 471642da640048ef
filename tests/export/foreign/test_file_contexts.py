"""ONNX files of other tools get contexts, a hop and a delay as torch modules do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgernn


class Detector(nn.Module):
    """A convolution over time before a GRU."""

    def __init__(self, padding: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=stride, padding=padding)
        self.rnn = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 6)."""
        y: torch.Tensor = self.rnn(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return y


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("padding", "stride", "delays", "states"),
    [
        (0, 1, {"y": 2}, {"h", "conv_context", "position"}),
        (1, 1, {"y": 1}, {"h", "conv_context", "position"}),
        (1, 2, {}, {"h", "conv_context"}),
    ],
)
def test_a_file_that_convolves_over_time_runs_in_steps(
    tmp_path: Path, padding: int, stride: int, delays: dict[str, int], states: set[str]
) -> None:
    """A file gets a step graph with contexts, and its artifact keeps them when exported again."""
    path = tmp_path / "detector.onnx"
    dynamic = {"x": {0: "batch", 1: "sequence"}, "y": {0: "batch", 1: "frames"}}
    torch.onnx.export(
        Detector(padding, stride).eval(),
        (torch.randn(2, 12, 4),),
        str(path),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes=dynamic,
        opset_version=17,
    )
    first = edgernn.export_model(path, tmp_path / "first.edgernn")
    again = edgernn.export_model(first.path, tmp_path / "again.edgernn")
    for artifact in (first, again):
        contract = artifact.contract
        assert contract.hop == stride
        assert contract.delays == delays
        assert {state.name for state in contract.states} == states
        assert contract.step is not None
        assert artifact.parity is not None


class Frames(nn.Module):
    """A convolution with stride 2 and no padding before a GRU, with a vector for each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv1d(4, 6, 3, stride=2), nn.GRU(6, 8, batch_first=True)
        self.place = nn.Embedding(30, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, frames, 8)."""
        frames = self.conv(x.transpose(1, 2)).relu().transpose(1, 2)
        y: torch.Tensor = self.rnn(frames + self.place(torch.arange(frames.shape[1])))[0]
        return y


def test_an_artifact_in_hops_is_exported_again(tmp_path: Path) -> None:
    """Its hop, its delay and the end of its positions stay; one graph alone has no step."""
    torch.manual_seed(0)
    first = edgernn.export_model(
        Frames(), tmp_path / "first.edgernn", inputs=["x:float32[batch,sequence,4]"]
    )
    again = edgernn.export_model(first.path, tmp_path / "again.edgernn", precision="float16")
    for artifact in (first, again):
        contract = artifact.contract
        assert (contract.hop, contract.delays) == (2, {"output": 1})
        assert contract.limited_states == first.contract.limited_states
        assert artifact.step is not None
    assert first.sequence is not None
    alone = edgernn.export_model(first.sequence, tmp_path / "alone.edgernn")
    assert alone.contract.hop == 2
    assert alone.contract.notes[-1] == (
        "There is no step graph: its chunks are whole hops of 2 steps, which cannot be taken apart "
        "again. Export the folder of the artifact, which has one."
    )
