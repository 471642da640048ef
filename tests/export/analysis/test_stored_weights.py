"""How weights are stored, as read from finished graphs."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.analysis.stored_weights import stored_weights
from edgernn.precision_report import StoredWeight
from tests.nets.tagger import tagged

REASON = "a table is read, not multiplied"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The int8 sequence graph of a GRU with a table and a head."""
    folder = tmp_path_factory.mktemp("int8")
    return ir.load(tagged("GRU", folder, precision="int8", verify=False).sequence or "")


def test_int8_weights_and_what_stays(graph):
    """Each weight has its operator, its shape, and its bytes with scales; a table a reason."""
    found = stored_weights(graph, quantized=True)
    table = found[0]
    assert (table.operator, table.format, table.reason) == ("Gather", "float32", REASON)
    assert table.bytes == 4 * table.shape[0] * table.shape[1]
    assert {one.format for one in found[1:]} == {"int8", "uint8"}
    assert all(one.bytes >= one.shape[-1] * one.shape[-2] and not one.reason for one in found[1:])


def test_other_precisions_give_no_reasons():
    """Where nothing is quantized, no weight needs a reason."""
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 18]> g (float[n, 2] x) => (float[n, 2] y) '
        "<float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"
    )
    expected = StoredWeight("w", "MatMul", (2, 2), "float32", 16)
    assert stored_weights(model, quantized=False) == (expected,)
    (one,) = stored_weights(model, quantized=True)
    assert one.reason == "its product has a form that is not quantized"


def test_a_factor_of_the_data_is_not_a_weight():
    """What is multiplied by a product's weights has a factor, which is none of them."""
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 18]> g (float[n, 2] x) => (float[n, 2] y) '
        "<float[2, 2] w = {1, 2, 3, 4}, float[1, 2] k = {1, 2}> "
        "{ kx = Mul(k, x) y = MatMul(kx, w) }"
    )
    assert [one.name for one in stored_weights(model, quantized=False)] == ["w"]
