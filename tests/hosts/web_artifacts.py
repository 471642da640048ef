"""The artifacts that the web page is tested with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import edgernn
from tests.hosts.host_artifacts import write_artifact

__all__ = ["write_page_artifact"]


class Detector(nn.Module):
    """One score for each 10 ms of sound."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 16, kernel_size=400, stride=160)
        self.gru = nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, frames) for a wave (batch, samples)."""
        frames = self.frames(wave[:, None]).relu()
        scores: torch.Tensor = self.head(self.gru(frames.transpose(1, 2))[0])
        return scores[:, :, 0]


def write_page_artifact(name: str, folder: Path) -> None:
    """Write `model.edgernn` into a folder: an artifact of every host, or `sound`."""
    if name != "sound":
        write_artifact(name, folder)
        return
    torch.manual_seed(0)
    model = Detector().eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3)  # else all scores are nearly the same
    inputs = ["wave:float32[batch,sequence]"]
    edgernn.export_model(model, folder / "model.edgernn", inputs=inputs, rate=16000)
