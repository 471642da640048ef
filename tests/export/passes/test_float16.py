"""Weights and computation in float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import edgernn
from edgernn.export.passes.float16 import to_float16
from tests.nets.tagger import KINDS, gaps, learned, ports, replayed, tagged


def graph(body: str) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["": 18]> {body}'
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_proven_and_its_error_reported(kind: str, tmp_path: Path) -> None:
    """The report holds the true difference from float32, within a tolerance of its own."""
    artifact = tagged(kind, tmp_path, precision="float16")
    assert artifact.parity is not None
    assert artifact.parity.tolerance == 2e-2
    assert 1e-5 < artifact.parity.max_difference < 2e-3
    assert artifact.contract.notes[-1] == (
        "Weights, states, real inputs and outputs are float16. Parity is with float32: "
        f"{gaps(artifact)}"
    )
    assert replayed(artifact).passed


def test_ports_and_weights_are_float16_and_ids_stay(tmp_path: Path) -> None:
    """Nothing real is float32 in either graph; whole numbers are as they were."""
    artifact = tagged("GRU", tmp_path, precision="float16")
    assert ports(artifact, "step") == [
        "ids: int64[batch]",
        "h_in: float16[2, batch, 6]",
        "output: float16[batch, 5]",
        "h_out: float16[2, batch, 6]",
    ]
    for file in (artifact.sequence, artifact.step):
        model = onnx.load(file or "")
        assert {one.data_type for one in model.graph.initializer} <= {
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.INT64,
        }


def test_a_stream_takes_float32_and_keeps_float16(tmp_path: Path) -> None:
    """Real numbers are rounded on the way in, a trained initial state among them."""
    artifact = learned(tmp_path, precision="float16")
    stream = edgernn.load(artifact.path).stream()
    assert stream.snapshot()["h"].dtype == np.float16
    assert stream.snapshot()["h"].any()
    assert stream.step(np.ones((1, 4), np.float32)).dtype == np.float16
    stream.restore({"h": np.ones((2, 1, 6), np.float32)})
    assert (stream.snapshot()["h"] == 1).all()


def test_an_operator_without_float16_keeps_float32() -> None:
    """What ONNX does not define for float16 has casts around it."""
    model = graph(
        "g (float x) => (float[n] y) <float a = {0}, float d = {1}> { y = Range(a, x, d) }"
    )
    to_float16([model])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [node.op_type for node in model.graph] == ["Cast", "Range", "Cast"]
    assert [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)] == [
        ir.DataType.FLOAT16,
        ir.DataType.FLOAT16,
    ]
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    assert session.run(None, {"x": np.array(3, np.float16)})[0].tolist() == [0, 1, 2]


def test_numbers_beyond_float16_become_its_largest() -> None:
    """A mask of -1e9 stays a finite mask, and infinity stays infinite."""
    model = graph("g (float[2] x) => (float[2] y) <float[2] m = {-1e9, 1}> { y = Add(x, m) }")
    to_float16([model])
    tensor = model.graph.initializers["m"].const_value
    assert tensor is not None
    assert tensor.numpy().tolist() == [-65504, 1]


@pytest.mark.parametrize("perm", [(1, 0, 2), (1, 2, 0)])
def test_a_transposition_before_a_product_loads(perm: tuple[int, ...]) -> None:
    """ONNX Runtime opens the form that a batch-first model ends with, and computes it."""
    size = (4, 2, 3)[perm[2]]
    weights = ", ".join(["0.5"] * size)
    model = graph(
        f"g (float[4, 2, 3] x) => (float[a, b, c] y) <float[{size}, 1] w = {{{weights}}}> "
        f"{{ t = Transpose <perm = [{', '.join(map(str, perm))}]> (x) y = MatMul(t, w) }}"
    )
    to_float16([model])
    x = np.arange(24).reshape(4, 2, 3).astype(np.float16) / 8
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    expected = x.transpose(perm).astype(np.float32).sum(-1, keepdims=True) / 2
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=2e-3)
