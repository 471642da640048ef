"""The precision of graphs, by what their weights are stored as."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.analysis.graph_precision import precision_of
from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.quantize.block_nodes import look_up, multiply, unpack
from edgernn.export.quantize.block_weights import BlockFormat
from edgernn.export.quantize.int8_tables import write_tables
from edgernn.export.quantize.round_weights import Matrix, round_nearest
from tests.export.quantize.test_int8_tables import WIDTH, table_in

BYTES = {
    "a product": ("y = MatMulInteger(w, w)", "int8"),
    "a layer": ("y = DequantizeLinear(w, s, z)", "int8"),
    "a table of features": ("r = Gather(w, n)  f = Cast <to = 1> (r)  y = Mul(f, s)", "float32"),
    "a factor": ("f = Cast <to = 1> (w)  y = Mul(f, s)", "float32"),
    "an operand": ("f = Cast <to = 1> (w)  y = MatMul(f, f)", "float32"),
    "centred features": (
        "f = Cast <to = 1> (w)  m = Sub(f, s)  y = Mul(m, s)",
        "float32",
    ),
    "signed bytes": ("f = Cast <to = 1> (i)  y = Mul(f, s)", "float32"),
    "zero points": ("y = DequantizeLinear(x, s, z)", "float32"),
    "half": ("y = Cast <to = 1> (h)", "float16"),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_are_weights_where_they_are_quantized(case: str) -> None:
    """Others are data of a model in float32, of any number of axes."""
    line, expected = BYTES[case]
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 18]> g (uint8[2, 2] x, int64 n) => (y) '
        "<uint8[2, 2] w = {1, 2, 3, 4}, float s = {0.5}, uint8 z = {0}, int8[1, 2] i = {1, 2}, "
        "float16[1] h = {1}> "
        f"{{ {line} }}"
    )
    if case != "half":
        model.graph.initializers.pop("h")
    assert precision_of([model]) == expected


def test_tables_of_int8() -> None:
    """Rows in int8 are multiplied by scales that are looked up by the same ids."""
    model = table_in("x = Gather(E, ids)  y = MatMul(x, W)", f"float[n, {WIDTH}] y")
    assert precision_of([model]) == "float32"
    assert list(write_tables(model))
    assert precision_of([model]) == "int8"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("how", ["product", "table", "layer"])
def test_blocks_are_int4(bits: int, how: str) -> None:
    """Weights in blocks are of int4, also those that have 8 bits there."""
    model = table_in("x = Gather(E, ids)", f"float[n, {WIDTH}] x", 20)
    weights = model.graph.initializers["W"].const_value
    assert weights is not None
    matrix = Matrix.of_unknown_inputs(weights.numpy())
    rounded = round_nearest(matrix, BlockFormat(8 if how == "table" else bits, 16))
    builder = NodeBuilder(model.graph)
    if how == "table":
        look_up(builder, model.graph.inputs[0], rounded, "rows")
    elif how == "layer":
        unpack(builder, rounded)
    else:
        bias = np.zeros(WIDTH, np.float32)
        multiply(builder, model.graph.outputs[0], rounded, bias, "product")
    assert precision_of([model]) == "int4"
