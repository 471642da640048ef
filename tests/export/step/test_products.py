"""Products of one step, joined and split."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.ir.shapes import infer_shapes
from edgernn.export.step.products import merge_biases
from tests.nets.layer_graphs import run, session


def model_of(signature: str, nodes: str, **constants: tuple[int, ...]) -> ir.Model:
    """Return a settled model with random constants of the shapes given."""
    text = f'<ir_version: 8, opset_import: ["": 18]> m {signature} {{ {nodes} }}'
    model = ir.from_onnx_text(text)
    random = np.random.default_rng(0)
    for name, shape in constants.items():
        value = ir.Value(name=name, const_value=ir.tensor(random.random(shape, np.float32)))
        value.shape, value.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
        for node in model.graph:
            for index, used in enumerate(node.inputs):
                if used is not None and used.name == name:
                    node.replace_input_with(index, value)
        model.graph.register_initializer(value)
    infer_shapes(model)
    return model


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


X = "(float[batch,2] x) => (float[batch,3] y)"


@pytest.mark.parametrize(
    ("nodes", "shape", "left"),
    [
        ("a = MatMul(x, W) y = Add(a, b)", (3,), ["Gemm"]),
        ("a = MatMul(x, W) y = Add(b, a)", (1, 3), ["Gemm"]),
        ("a = MatMul(x, W) y = Add(a, b)", (1,), ["MatMul", "Add"]),
        ("a = MatMul(x, W) y = Mul(a, b)", (3,), ["MatMul", "Mul"]),
        ("a = MatMul(x, W) c = Add(a, b) y = Add(a, c)", (3,), ["MatMul", "Add", "Add"]),
    ],
)
def test_a_product_and_its_bias_become_one_gemm(
    nodes: str, shape: tuple[int, ...], left: list[str]
):
    """Only a bias of one value per column, added to a product with no other use, is merged."""
    model = model_of(X, nodes, W=(2, 3), b=shape)
    feeds = {"x": np.ones((4, 2), np.float32)}
    before = run(session(model), feeds)["y"]
    merge_biases(model.graph)
    assert op_types(model) == left
    np.testing.assert_allclose(run(session(model), feeds)["y"], before, atol=1e-6)
