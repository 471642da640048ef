"""Graphs without dynamic axes, of every kind of model and with every other option."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.artifact import Artifact
from tests.nets.tagger import Learned, replayed, tagged


def shapes(model: onnx.ModelProto) -> Iterator[list[str]]:
    """Yield the shape of every value of a graph: sizes as digits, symbols, or `?`."""
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        yield [dim.dim_param or str(dim.dim_value or "?") for dim in dims]


def dynamic(artifact: Artifact) -> set[str]:
    """Return the symbols and unknown sizes in the graphs as written and as inferred anew."""
    found: set[str] = set()
    for kind in artifact.contract.graphs:
        model = onnx.load(artifact.path / f"{kind}.onnx")
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        assert len(inferred.graph.value_info) > len(model.graph.node) // 2
        found |= {dim for one in (model, inferred) for shape in shapes(one) for dim in shape}
    return {dim for dim in found if not dim.isdigit()}


TOLERANCES = {"float16": 2e-2, "int8": 5e-2}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "alone, proven": {"verify": True},
    "one step": {"steps": 1},
    "states per layer, batch-major": {"state_layout": "batch-major", "state_per_layer": True},
    "int32, reset, float16": {"int32_ids": True, "reset": True, "precision": "float16"},
    "batch-major, reset, opset 13": {"state_layout": "batch-major", "reset": True, "opset": 13},
    "int8, opset 21": {"opset": 21, "precision": "int8"},
    "lengths": {"lengths": True},
    "any batch, batch-major, float16": {
        "batch_size": None,
        "state_layout": "batch-major",
        "precision": "float16",
    },
    "any batch, lengths, reset": {"batch_size": None, "lengths": True, "reset": True},
    "sequence graph alone": {"graph": "sequence"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_combine(options: Mapping[str, Any], tmp_path: Path) -> None:
    """With every other option the recorded run agrees; with a batch no axis is left dynamic."""
    given = {"steps": 3, "batch_size": 2, "verify": False, **options}
    artifact = tagged("LSTM", tmp_path, **given)
    assert replayed(artifact).max_difference < TOLERANCES.get(str(given.get("precision")), 1e-5)
    sizes = {"batch": given["batch_size"], "sequence": given["steps"]}
    assert artifact.contract.constants == {k: size for k, size in sizes.items() if size is not None}
    found = dynamic(artifact)
    assert not any("sequence" in size for size in found)
    assert bool(found) == (given["batch_size"] is None)


class Loop(nn.Module):
    """A loop over time around a cell, its rows in one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 6)
        rows = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            rows.append(h)
        return torch.stack(rows, 1).reshape(-1, 6)


class Last(nn.Module):
    """The final step of a projected layer alone."""

    def __init__(self, both: bool = False) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, proj_size=3, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.rnn(x)[0][-1]
        return last


BATCH_FIRST = "x:float32[batch,sequence,4]"
STEPS_FIRST = "x:float32[sequence,batch,4]"
MODELS: Mapping[str, tuple[Callable[[], nn.Module], list[str], tuple[str, ...]]] = {
    "loop, rows": (Loop, [BATCH_FIRST], ("sequence", "step")),
    "last step, Scan": (Last, [STEPS_FIRST], ("sequence", "step")),
    "bidirectional": (lambda: Last(True), [STEPS_FIRST], ("sequence",)),
    "one step": (
        lambda: nn.LSTMCell(4, 6),
        ["input:float32[batch,4]", "hx[0]:float32[batch,6]", "hx[1]:float32[batch,6]"],
        ("sequence", "step"),
    ),
    "learned state": (Learned, [BATCH_FIRST], ("sequence", "step")),
    "unbatched": (lambda: nn.RNN(4, 6), ["input:float32[sequence,4]"], ("sequence", "step")),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model(name: str, tmp_path: Path) -> None:
    """Whatever is around the recurrence, with both numbers where the model has both axes."""
    make, inputs, graphs = MODELS[name]
    batch = 2 if "batch" in str(inputs) else None
    torch.manual_seed(0)
    artifact = edgernn.export_model(
        make().eval(), tmp_path / "m.edgernn", inputs=inputs, steps=5, batch_size=batch
    )
    assert tuple(artifact.contract.graphs) == graphs
    assert artifact.contract.constants["sequence"] == 5
    assert replayed(artifact).passed
    assert dynamic(artifact) == set()


def test_an_onnx_file_is_given_both_numbers(tmp_path: Path) -> None:
    """The graphs made from a file of others are made constant likewise."""
    file = tagged("GRU", tmp_path, graph="sequence", verify=False).path / "sequence.onnx"
    artifact = edgernn.export_model(file, tmp_path / "m.edgernn", steps=3, batch_size=2)
    assert artifact.contract.constants == {"batch": 2, "sequence": 3}
    assert dynamic(artifact) == set()
    assert replayed(artifact).passed
