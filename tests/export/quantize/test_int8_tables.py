"""Embeddings in int8."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgernn.export.ir.onnx_session import OnnxSession
from edgernn.export.quantize.int8_tables import why_not_int8, write_tables

ROWS, WIDTH = 1024, 16


def table_in(lines: str, outputs: str, rows: int = ROWS) -> ir.Model:
    """Return a graph with a table E and weights W, ids (n,) in."""
    model = ir.from_onnx_text(f"""
        <ir_version: 8, opset_import: ["": 18]> g (int64[n] ids) => ({outputs})
        <float[1] E = {{0}}, float[1] W = {{0}}> {{ {lines} }}
    """)
    rng = np.random.default_rng(0)
    scales = np.exp(rng.normal(size=(rows, 1)) * 3)
    drawn = {"E": rng.normal(size=(rows, WIDTH)) * scales, "W": np.eye(WIDTH)}
    for name, array in drawn.items():
        tensor = ir.tensor(array.astype(np.float32), name=name)
        value = model.graph.initializers[name]
        value.const_value, value.shape = tensor, ir.Shape(array.shape)
    return model


def test_each_row_has_a_scale_of_its_own() -> None:
    """Rows of any size keep two digits; an id before the end counts from it, as in float32."""
    lines = "x = Gather(E, ids)  s = Shape(x)  r = Reshape(x, s)  y = MatMul(r, W)"
    model = table_in(lines, f"float[n, {WIDTH}] y")
    ids = np.array([0, 7, -1, ROWS - 2])
    expected = OnnxSession(ir.to_proto(model).SerializeToString())({"ids": ids})["y"]
    (record,) = write_tables(model)
    assert (record.name, record.operator, record.stored) == ("E", "Gather", "int8")
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    got = OnnxSession(ir.to_proto(model).SerializeToString())({"ids": ids})["y"]
    assert (np.abs(got - expected) <= np.abs(expected).max(1, keepdims=True) / 250).all()
    assert np.abs(got - expected).max() > 0


@pytest.mark.parametrize(
    ("lines", "rows", "reason"),
    [
        ("y = Gather(E, ids)", ROWS, "its rows are added without a product"),
        ("x = Gather(E, ids)  m = MatMul(x, W)  y = Add(m, x)", ROWS, "its rows are added"),
        ("x = Gather(E, ids)  y = MatMul(x, W)", 9, "it has fewer than 16,384 numbers"),
        ("x = Gather <axis = 1> (E, ids)  y = Transpose(x)", ROWS, "it is no table of rows"),
    ],
    ids=["output", "added", "small", "axis"],
)
def test_other_tables_stay(lines: str, rows: int, reason: str) -> None:
    """A table that is not only multiplied, or is small, stays float32 and has a reason."""
    model = table_in(lines, "y", rows)
    assert not list(write_tables(model))
    gather = next(node for node in model.graph if node.op_type == "Gather")
    table = gather.inputs[0].const_value if gather.inputs[0] else None
    assert table is not None
    assert why_not_int8(gather, table.numpy()).startswith(reason)
