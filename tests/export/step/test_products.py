"""Products of one step, joined and split."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.ir.shapes import infer_shapes
from edgernn.export.step.products import merge_biases, premultiply_embeddings
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
IDS = "(int64[batch] x) => (float[batch,3] y)"


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


@pytest.mark.parametrize(
    ("product", "weights"),
    [
        ("Gemm(a, W, b)", (2, 3)),
        ("Gemm(a, W)", (2, 3)),
        ("Gemm<transB = 1>(a, W, b)", (3, 2)),
    ],
)
def test_an_embedding_is_folded_into_its_product(product: str, weights: tuple[int, ...]):
    """The rows of the folded table are the products of the embedding's rows."""
    model = model_of(IDS, f"a = Gather(E, x) y = {product}", E=(5, 2), W=weights, b=(3,))
    feeds = {"x": np.arange(5)}
    before = run(session(model), feeds)["y"]
    premultiply_embeddings(model.graph)
    assert op_types(model)[-1] == "Gather"
    assert "Gemm" not in op_types(model)
    np.testing.assert_allclose(run(session(model), feeds)["y"], before, atol=1e-6)


@pytest.mark.parametrize(
    "product",
    ["Gemm<alpha = 2.0>(a, W, b)", "Gemm<transA = 1>(a, W, b)"],
)
def test_a_product_that_is_not_plain_is_kept(product: str):
    """A scaled or transposed product is no product of rows."""
    nodes = f"a = Gather(E, x) y = {product}"
    model = model_of("(int64[2] x) => (float[2,3] y)", nodes, E=(5, 2), W=(2, 3), b=(3,))
    premultiply_embeddings(model.graph)
    assert op_types(model) == ["Gather", "Gemm"]


@pytest.mark.parametrize(
    ("entries", "outputs", "folds"),
    [
        (2048, 1024, True),  # 8 MiB
        (2049, 1024, False),  # more than 8 MiB and more than embedding and weights
        (30000, 100, True),  # more than 8 MiB, less than the embedding
    ],
)
def test_a_large_table_is_folded_only_where_it_saves(entries: int, outputs: int, folds: bool):
    """Up to 8 MiB always; beyond, where it is smaller than embedding and weights together."""
    model = model_of(
        f"(int64[batch] x) => (float[batch,{outputs}] y)",
        "a = Gather(E, x) y = Gemm(a, W, b)",
        E=(entries, 128),
        W=(128, outputs),
        b=(outputs,),
    )
    premultiply_embeddings(model.graph)
    assert ("Gemm" not in op_types(model)) is folds
