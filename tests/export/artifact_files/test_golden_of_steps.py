"""The golden run of an artifact that has a step graph only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import edgernn
from edgernn.export import export_model
from edgernn.export.artifact_files.golden_of_steps import golden_of_steps
from edgernn.runtime.golden_replay import golden_report, require_passed
from tests.nets.framed import Framed
from tests.nets.framed_tagger import FramedTagger


def test_axes_of_steps_move_to_the_front() -> None:
    """Several steps of a hop keep their place; the last step alone has none."""
    contract = Framed(4, 2, 2, 0).contract()
    arrays = {
        "x": np.zeros((2, 18)),
        "scores": np.zeros((2, 9, 3)),
        "wave": np.zeros((2, 18)),
        "last": np.zeros((2, 3)),
        "sum_in": np.zeros((2, 3)),
    }
    shapes = {name: array.shape for name, array in golden_of_steps(arrays, contract).items()}
    assert shapes == {
        "x": (2, 18),
        "scores": (9, 2, 3),
        "wave": (2, 18),
        "last": (2, 3),
        "sum_in": (2, 3),
    }
    contract = Framed(3, 1, 2, 0).contract()
    shapes = {name: array.shape for name, array in golden_of_steps(arrays, contract).items()}
    assert (shapes["x"], shapes["scores"], shapes["wave"]) == ((18, 2), (9, 2, 3), (18, 2))


@pytest.mark.parametrize("kernel", [None, 4], ids=["steps", "hops"])
def test_a_step_graph_alone_replays_it(tmp_path: Any, kernel: int | None) -> None:
    """A model whose batch comes first is replayed by the artifact of its step graph."""
    torch.manual_seed(0)
    path = tmp_path / "m.edgernn"
    specs = ["x:float32[batch,sequence,3]"]
    export_model(FramedTagger(kernel).eval(), path, inputs=specs, graph="step")
    report = golden_report(edgernn.load(path))
    require_passed(report)
    assert [check.name for check in report.checks] == ["steps"]
