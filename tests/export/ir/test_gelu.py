"""GELU is written in the order of products that every runtime takes."""

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import onnx_ir as ir
import pytest

from edgernn.export.ir.gelu import reorder_gelu

HEAD = """<ir_version: 8, opset_import: ["" : 18]> g (float[batch,4] x) => (float[batch,4] y)
<float half = {0.5}, float one = {1.0}, float root = {1.4142135}> {
a = Div (x, root)  b = Erf (a)  c = Add (b, one)  """


def model_of(rest):
    return onnx.parser.parse_model(HEAD + rest + "}")


@pytest.mark.parametrize(
    "rest",
    [
        "d = Mul (half, c)  y = Mul (x, d)",
        "d = Mul (c, half)  y = Mul (d, x)",
        "d = Mul (half, c)  e = Mul (x, d)  y = Tanh (e)",
        "d = Mul (half, c)  e = Mul (x, d)  f = Tanh (d)  y = Add (e, f)",
    ],
)
def test_the_half_comes_last(rest):
    """The half multiplies the product with x, and not one bit of the result changes."""
    before = model_of(rest)
    model = ir.from_proto(before)
    reorder_gelu(model)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    products = [set(node.inputs) for node in model.graph if node.op_type == "Mul"]
    half = model.graph.initializers["half"]
    assert half in products[-1]
    assert half not in products[-2]
    x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    np.testing.assert_array_equal(result_of(before, x), result_of(after, x))


def result_of(model, x):
    return next(iter(onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})))


@pytest.mark.parametrize(
    "rest",
    ["d = Mul (x, c)  y = Mul (d, half)", "d = Mul (one, c)  y = Mul (x, d)"],
)
def test_other_products_stay(rest):
    """What is in order already, and what is no half, stays as it is."""
    model = ir.from_proto(model_of(rest))
    reorder_gelu(model)
    nodes = [(n.op_type, *n.input) for n in ir.to_proto(model).graph.node]
    assert nodes == [(n.op_type, *n.input) for n in model_of(rest).graph.node]
