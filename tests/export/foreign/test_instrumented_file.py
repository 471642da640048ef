"""Values inside a graph of others."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.foreign.instrumented_file import evaluate, open_session, values_by_name

TEXT = """<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y)
    <float[2] w = {1, 2}> { product = Mul(x, w) sum = Add(product, w) y = Neg(sum) }"""


def test_values_are_what_onnxruntime_computes():
    """Of nodes, weights and inputs, in the order asked for; the model keeps its outputs."""
    model = ir.from_onnx_text(TEXT)
    values = values_by_name(model.graph, ["sum", "w", "x", "sum"])
    x = np.array([3, 4], np.float32)
    got = evaluate(model, values, {"x": x}, "`m.onnx`")
    for array, expected in zip(got, ([4, 10], [1, 2], [3, 4], [4, 10]), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_a_graph_that_onnxruntime_does_not_load_is_refused():
    """Its own graphs would have nothing to be proven against."""
    model = ir.from_onnx_text(TEXT.replace("Neg(", "Unknown("))
    with pytest.raises(UnsupportedModelError) as caught:
        open_session(model, "`m.onnx`")
    assert str(caught.value).startswith(
        "`m.onnx` cannot be run by ONNX Runtime, which is what its graphs would be proven against: "
    )
