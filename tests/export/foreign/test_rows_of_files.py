"""Files with layers along another axis than time, and with states of several rows."""

from __future__ import annotations

from pathlib import Path

import torch

from edgernn.export.pipeline import export_model
from tests.models.dual_paths import BINS, WIDTH, DualPath
from tests.models.proof import check_against_torch, signature
from tests.nets.torch_onnx import from_torch

PORTS = (
    "x: float32[batch, sequence, 5, 4]; inter_h[1, batch, 5, 4] -> "
    "output: float32[batch, sequence, 5, 4] (sequence + step)"
)


def frames(batch: int, steps: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(batch, steps, BINS, WIDTH)}


def test_a_file_of_torch_gets_a_step(tmp_path: Path):
    """The layer along the bins stays inside; that over time has a row for every bin."""
    module = DualPath()
    file = from_torch(
        tmp_path / "m.onnx",
        module,
        (frames(2, 6)["x"],),
        dynamo=True,
        dynamic_shapes=({0: "batch", 1: "sequence"},),
        output_names=["output"],
    )
    artifact = export_model(file, tmp_path / "m.edgernn")
    assert signature(artifact) == PORTS
    check_against_torch(artifact, frames, module, ((1, 1), (3, 7)))


def test_an_artifact_is_exported_again(tmp_path: Path):
    """Its ports, which have the batch as an axis of their own, stay as they are."""
    module = DualPath().eval()
    first = export_model(module, tmp_path / "first.edgernn", inputs=(frames(2, 6)["x"],))
    again = export_model(first.path, tmp_path / "again.edgernn")
    assert signature(again) == PORTS
    check_against_torch(again, frames, module, ((3, 7),))
