"""The files of an artifact: each graph is written once, and nothing but its own files remains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import edgernn
from edgernn.export.artifact_files import artifact_writer
from edgernn.export.options import GraphChoice
from edgernn.runtime.golden_replay import golden_report
from tests.nets.call_counter import CallCounter


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the weights of every model into files of their own."""
    monkeypatch.setattr(artifact_writer, "EXTERNAL_BYTES", 0)


def test_a_graph_is_saved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof runs the very file of the artifact: only metadata follow, as `save` writes them."""
    saved: list[Path] = []
    save = ir.save

    def noting(model: ir.Model, path: Path, **options: Any) -> None:
        saved.append(path)
        save(model, path, **options)

    monkeypatch.setattr(ir, "save", noting)
    artifact = edgernn.export_model(nn.GRU(3, 4), tmp_path / "m.edgernn")
    assert [path.name for path in saved] == ["sequence.onnx", "step.onnx"]
    for kind in artifact.contract.graphs:
        file = artifact.path / f"{kind}.onnx"
        model = ir.load(file)
        assert model.metadata_props["edgernn.parity"] == str(artifact.parity)
        save(model, tmp_path / "whole.onnx")
        assert (tmp_path / "whole.onnx").read_bytes() == file.read_bytes()


def test_a_number_is_recorded_as_a_number(tmp_path: Path) -> None:
    """The golden run of a state without axes has arrays without axes, and is replayed."""
    artifact = edgernn.export_model(
        CallCounter(), tmp_path / "m.edgernn", inputs=(torch.ones(1, 5, 3),)
    )
    (state,) = (state for state in artifact.contract.states if state.name == "calls")
    assert artifact.contract.initial(state).shape == ()
    assert np.load(artifact.golden / "calls_in.npy").shape == ()
    assert golden_report(edgernn.load(artifact.path)).passed


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize("graph", ["both", "step"])
def test_large_weights_are_beside_their_graph(tmp_path: Path, graph: GraphChoice) -> None:
    """Weights above the limit are in a file of their own, for the graphs that were asked for."""
    artifact = edgernn.export_model(nn.GRU(30, 40), tmp_path / "m.edgernn", graph=graph)
    kinds = ["sequence", "step"] if graph == "both" else ["step"]
    files = [name for kind in kinds for name in (f"{kind}.onnx", f"{kind}.weights.bin")]
    assert sorted(artifact.digests) == files
    assert sorted(file.name for file in artifact.path.iterdir()) == sorted(
        [*files, "README.md", "contract.json", "golden"]
    )
    assert edgernn.load(artifact.path).stream().steps == 0
