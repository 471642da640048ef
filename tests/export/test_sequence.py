"""A constant number of steps, alone and with every other option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.artifact import Artifact
from edgernn.errors import InputError, UnsupportedModelError
from edgernn.export import verify_artifact
from tests.export.tagger import Learned, Tagger, learned, ports, replayed, tagged


def dims_of(artifact: Artifact) -> dict[str, set[str]]:
    """Return, by graph, the symbols and unknown sizes that shape inference finds in it."""
    found: dict[str, set[str]] = {}
    for kind in artifact.contract.graphs:
        model = onnx.load(artifact.path / f"{kind}.onnx")
        assert {dim for value in values(model) for dim in value if not dim.isdigit()} == set()
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        shapes = list(values(inferred))
        assert len(shapes) > len(model.graph.input) + len(model.graph.output)
        found[kind] = {dim for shape in shapes for dim in shape if not dim.isdigit()}
    return found


def values(model: onnx.ModelProto) -> Any:
    """Yield the shape of every value of a graph: sizes as digits, symbols, or `?`."""
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield [
            dim.dim_param or str(dim.dim_value or "?") for dim in value.type.tensor_type.shape.dim
        ]


def test_the_sequence_graph_takes_that_many_steps(tmp_path: Path) -> None:
    """Its ports have the number, by the names of their axes; the step graph is as ever."""
    artifact = tagged("LSTM", tmp_path, sequence=16)
    assert ports(artifact) == [
        "ids: int64[batch, 16]",
        "h_in: float32[2, batch, 6]",
        "c_in: float32[2, batch, 6]",
        "output: float32[batch, 16, 5]",
        "h_out: float32[2, batch, 6]",
        "c_out: float32[2, batch, 6]",
    ]
    assert ports(artifact, "step")[0] == "ids: int64[batch]"
    assert artifact.contract.constants == {"sequence": 16}
    assert artifact.contract.graphs["sequence"].input("ids").axes == ("batch", "sequence")
    assert replayed(artifact).passed


def test_it_is_proven_at_its_size_only(tmp_path: Path) -> None:
    """Whole at that many steps, in calls of that many; the step graph at any number."""
    report = tagged("GRU", tmp_path, sequence=4).parity
    assert report is not None
    sizes = {(check.graph, check.name, check.sequence) for check in report.checks}
    assert sizes == {
        ("sequence", "whole", 4),
        ("sequence", "chunks", 8),
        *(("step", "steps", steps) for steps in (1, 7, 5)),
        ("step", "drift", 1000),
    }


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "sequence": {},
    "one step": {"sequence": 1},
    "per layer": {"state_per_layer": True},
    "batch-major": {"state_layout": "batch-major"},
    "batch-major, per layer": {"state_layout": "batch-major", "state_per_layer": True},
    "reset": {"reset": True},
    "int32": {"int32_ids": True},
    "int32, reset, batch-major": {
        "int32_ids": True,
        "reset": True,
        "state_layout": "batch-major",
    },
    "float16": {"precision": "float16"},
    "int8": {"precision": "int8"},
    "float16, reset": {"precision": "float16", "reset": True},
    "opset 13": {"opset": 13},
    "opset 21, int8": {"opset": 21, "precision": "int8"},
    "lengths": {"lengths": True},
    "lengths, batch-major, float16": {
        "lengths": True,
        "state_layout": "batch-major",
        "precision": "float16",
    },
    "sequence graph alone": {"graph": "sequence"},
}


@pytest.mark.parametrize("batch", [None, 3], ids=["any batch", "batch 3"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_combine(options: Mapping[str, Any], batch: int | None, tmp_path: Path) -> None:
    """With every other option the graphs are proven; with a batch no axis is left dynamic."""
    artifact = tagged("LSTM", tmp_path, **{"sequence": 6, "batch": batch, **options})
    assert replayed(artifact).passed
    constants = artifact.contract.constants
    assert constants == {"sequence": 6, **options, "batch": batch} if False else constants
    assert artifact.parity is not None
    assert artifact.parity.passed
    if batch is not None:
        assert dims_of(artifact) == dict.fromkeys(artifact.contract.graphs, set())
