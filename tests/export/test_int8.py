"""Weights in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgernn.export.passes.int8 import to_int8
from tests.export.tagger import KINDS, replayed, tagged

RECURRENT = {"LSTM", "GRU", "RNN"}


def result(model: ir.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the graph computes."""
    (array,) = list(ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x}))
    return np.asarray(array)


@pytest.mark.parametrize("kind", KINDS)
def test_int8_is_proven_and_its_error_reported(kind: str, tmp_path: Path) -> None:
    """The report holds the true difference from float32, within a tolerance of its own."""
    artifact = tagged(kind, tmp_path, precision="int8")
    assert artifact.parity is not None
    assert artifact.parity.tolerance == 5e-2
    assert 1e-4 < artifact.parity.max_difference < 2e-2
    assert artifact.contract.notes[-1] == (
        "Weights are int8; LSTM, GRU and RNN of the sequence graph compute in float32 with them, "
        "products in whole numbers. Parity is with float32: the difference is at most "
        f"{artifact.parity.max_difference:.1e}."
    )
    assert replayed(artifact).passed


def test_no_product_of_the_step_stays_float(tmp_path: Path) -> None:
    """Every product of a GRU's step is MatMulInteger, an operator of ONNX itself."""
    step = onnx.load(tagged("GRU", tmp_path, precision="int8").step or "")
    kinds = [node.op_type for node in step.graph.node]
    assert {"Gemm", "MatMul"} & set(kinds) == set()
    assert kinds.count("MatMulInteger") == 6
    assert {node.domain for node in step.graph.node} == {""}


def test_recurrent_weights_of_the_sequence_are_int8(tmp_path: Path) -> None:
    """W and R are stored as int8 for a GRU as for an LSTM; B stays."""
    graph = onnx.load(tagged("GRU", tmp_path, precision="int8").sequence or "").graph
    stored = {one.name: one.data_type for one in graph.initializer}
    sources = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in RECURRENT:
            for name in node.input[1:3]:
                assert sources[name].op_type == "DequantizeLinear"
                assert stored[sources[name].input[0]] == onnx.TensorProto.INT8
            assert stored[node.input[3]] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("line", "inputs"),
    [
        ("y = MatMul(x, w)", "float[3, 2] w = {1, 20, -3, 40, 5, -60}"),
        ("y = Gemm(x, w, b)", "float[3, 2] w = {1, 20, -3, 40, 5, -60}, float[2] b = {7, 8}"),
        ("y = Gemm <transB = 1> (x, w)", "float[2, 3] w = {1, 20, -3, 40, 5, -60}"),
    ],
    ids=["MatMul", "Gemm", "transB"],
)
def test_products_agree_with_float32(line: str, inputs: str) -> None:
    """Each output has a scale of its own, so columns of any size keep two digits."""
    text = (
        f'<ir_version: 8, opset_import: ["": 18]> g (float[4, 3] x) => (float[4, 2] y) <{inputs}>'
    )
    model = ir.from_onnx_text(f"{text} {{ {line} }}")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    expected = result(model, x)
    to_int8([model])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert "MatMulInteger" in [node.op_type for node in model.graph]
    got = result(model, x)
    np.testing.assert_array_less(abs(got - expected).max(0), 0.02 * abs(expected).max(0) + 0.02)


@pytest.mark.parametrize(
    "line", ["y = Gemm <alpha = 2.0> (x, w)", "y = Gemm <transA = 1> (x, w)", "y = MatMul(x, x)"]
)
def test_other_products_stay(line: str) -> None:
    """A product that is not x · W as it stands is left in float32."""
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[2, 2] x) => (float[2, 2] y)'
    model = ir.from_onnx_text(f"{text} <float[2, 2] w = {{1, 2, 3, 4}}> {{ {line} }}")
    to_int8([model])
    assert [node.op_type for node in model.graph] == [line.split()[2].partition("(")[0]]
