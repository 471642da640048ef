"""Artifacts proven again against the model that they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import edgernn
from edgernn.export.analysis.graph_precision import precision_of_files
from edgernn.export.verify import verify_artifact
from edgernn.tolerances import TOLERANCES


class Layer(torch.nn.Module):
    """One layer and a head, (batch, sequence, 8) to (batch, sequence, 4)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = torch.nn.GRU(8, 16, batch_first=True)
        self.head = torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.rnn(x)[0])


def exported(folder: Path, precision: Any) -> edgernn.Artifact:
    return edgernn.export_model(
        Layer(0).eval(), folder / "m.edgernn", inputs=(torch.zeros(2, 3, 8),), precision=precision
    )


@pytest.mark.parametrize("precision", [*TOLERANCES])
def test_each_precision_is_proven_to_its_tolerance(precision, tmp_path):
    """The precision is found in the graphs, and with it how much they may differ."""
    artifact = exported(tmp_path, precision)
    assert precision_of_files(artifact.checked(kind) for kind in ("sequence", "step")) == precision
    report = verify_artifact(artifact, Layer(0).eval())
    assert report.passed
    assert report.tolerance == TOLERANCES[precision]
    assert report.checks


def test_layers_that_unpack_int4_are_int4(tmp_path):
    """A sequence graph without products has no operator of its own for int4."""
    torch.manual_seed(0)
    layer = torch.nn.GRU(8, 16, batch_first=True)
    artifact = edgernn.export_model(layer, tmp_path / "m", precision="int4", graph="sequence")
    assert precision_of_files([artifact.checked("sequence")]) == "int4"
    assert verify_artifact(artifact, layer).tolerance == TOLERANCES["int4"]


def test_another_model_is_refused(tmp_path):
    """Other weights than those of the artifact differ by more than rounding."""
    artifact = exported(tmp_path, "float32")
    with pytest.raises(edgernn.ParityError) as caught:
        verify_artifact(artifact, Layer(1).eval())
    assert str(caught.value).startswith(
        "The sequence graph does not agree with eager torch: `h` differs by "
    )
