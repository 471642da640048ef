"""int4: both graphs hold the same weights, and compute with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import edgernn
from edgernn.artifact import Artifact
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.quantize.block_nodes import look_up, multiply, unpack
from edgernn.export.quantize.block_weights import BlockFormat
from edgernn.export.quantize.round_weights import Matrix, round_nearest
from tests.nets.scorer import Scorer
from tests.nets.tagger import Tagger

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model with a table, a layer and a head, exported with data."""
    folder: Path = tmp_path_factory.mktemp("int4")
    data = {"ids": RNG.integers(0, 6, (2, 60))}
    return edgernn.export_model(
        Scorer(), folder / "m.edgernn", precision="int4", calibrate=data, fold="no"
    )


@pytest.mark.parametrize(
    "form", [BlockFormat(4, 16), BlockFormat(4, 32), BlockFormat(8, 32)], ids=str
)
def test_nodes_read_what_was_stored(form):
    """Product, unpacked weights and rows of a table in ONNX Runtime are those of the values."""
    weights = RNG.standard_normal((5, 40)).astype(np.float32)
    rounded = round_nearest(Matrix.of_unknown_inputs(weights), form)
    bias = RNG.standard_normal(5).astype(np.float32)
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]> g (float[n, 40] x, '
        "int64[m] ids) => () { }"
    )
    x, ids = model.graph.inputs
    builder = NodeBuilder(model.graph)
    outputs = [
        multiply(builder, x, rounded, bias, "product"),
        builder.op("Identity", unpack(NodeBuilder(model.graph, None, "w_"), rounded), name="w"),
    ]
    if form.bits == 8:
        outputs.append(look_up(NodeBuilder(model.graph, None, "t_"), ids, rounded, "rows"))
    for value in outputs:
        value.type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.outputs.append(value)
    session = OnnxSession(ir.serde.serialize_model(model).SerializeToString())
    given = RNG.standard_normal((3, 40)).astype(np.float32)
    found = session({"x": given, "ids": np.array([4, 0])})
    np.testing.assert_allclose(found["product"], given @ rounded.values.T + bias, atol=0.15)
    np.testing.assert_array_equal(found["w"], rounded.values)
    if form.bits == 8:
        np.testing.assert_allclose(found["t_rows"], rounded.values[[4, 0]], atol=1e-6)


def test_both_graphs_give_the_same(scorer):
    """The sequence graph and steps differ by less than either does from the model."""
    model = edgernn.load(scorer.path)
    ids = RNG.integers(0, 6, (3, 50))
    whole = model(ids)
    stream = model.stream(batch=3)
    steps = np.stack([stream.step(ids[:, place]) for place in range(50)], 1)
    with torch.no_grad():
        exact = Scorer()(torch.from_numpy(ids)).numpy()
    assert 0 < np.abs(whole - exact).max() < 0.3
    assert np.abs(whole - steps).max() < 0.1


def test_weights_are_reported(scorer):
    """Every weight has its format; the table is int8, products are int4."""
    assert scorer.precision is not None
    found = {
        kind: [(one.operator, one.format[:4]) for one in weights]
        for kind, weights in scorer.precision.weights.items()
    }
    assert found["step"][0] == ("Gather", "floa")  # 8 features are less than a block
    assert {kind for kind, _ in found["step"][1:]} <= {"MatMulNBits", "Gemm"}
    assert ("MatMulNBits", "int4") in found["step"]
    assert ("GRU", "int4") in found["sequence"]
    assert "com.microsoft" in scorer.refusals["OpenCV (step.onnx)"]
    assert scorer.refusals["OpenVINO (sequence.onnx)"] == (
        "It refuses GRU `gru_l0`: it takes no weights that are unpacked from int4."
    )


def test_both_directions_and_lengths(tmp_path):
    """A model without a step graph is quantized too, masks of lengths stay exact."""
    model = Tagger("bidirectional", width=16, hidden=16)
    artifact = edgernn.export_model(model, tmp_path / "m.edgernn", precision="int4", lengths=True)
    assert artifact.precision is not None
    assert {one.format[:4] for one in artifact.precision.weights["sequence"]} == {"int4", "int8"}
    assert artifact.parity is not None
    assert artifact.parity.max_difference < 0.3


def test_weights_with_equal_numbers_have_their_own_shapes(tmp_path):
    """Zeros (32, 16) and zeros (16, 32) are two matrices."""
    torch.manual_seed(0)
    widen, gru, narrow = nn.Linear(16, 32), nn.GRU(32, 32, batch_first=True), nn.Linear(32, 16)
    nn.init.zeros_(widen.weight)
    nn.init.zeros_(narrow.weight)

    class Zeros(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.widen, self.gru, self.narrow = widen, gru, narrow

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return (batch, sequence, 16) of (batch, sequence, 16)."""
            whole: torch.Tensor = self.narrow(self.gru(torch.relu(self.widen(x)))[0])
            return whole

    artifact = edgernn.export_model(
        Zeros(), tmp_path / "m", precision="int4", inputs=[torch.zeros(2, 3, 16)]
    )
    assert artifact.precision is not None
    shapes = [one.shape for one in artifact.precision.weights["step"]]
    assert {(16, 32), (32, 16)} <= {*shapes}
    assert artifact.parity is not None
    assert artifact.parity.max_difference < 0.1
