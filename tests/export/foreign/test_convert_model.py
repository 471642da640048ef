"""Files in other precisions, in float32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.foreign.convert_model import to_float32
from edgernn.export.ir.onnx_session import OnnxSession

TEXT = """<ir_version: 8, opset_import: ["": 18]> g ({dtype}[2] x) => ({dtype}[2] y)
    <{dtype}[2] w = {{{w}}}> {{
    product = Mul(x, w)
    wide = Cast<to = 1>(product)
    back = Cast<to = {number}>(wide)
    half = Constant<value = {dtype}[1] {{{half}}}>()
    y = Add(back, half)
}}"""


NUMBERS = {"w": "1.5, -2", "half": "0.5"}
BITS = {"w": "15872, 49152", "half": "14336"}
"""The same as the bits of float16, which is how the text form has them."""


@pytest.mark.parametrize(
    ("dtype", "number", "numbers"), [("float16", 10, BITS), ("double", 11, NUMBERS)]
)
def test_a_file_is_written_and_computed_in_float32(dtype, number, numbers):
    """Ports, weights, constants and casts; the change says what the file was in."""
    model = ir.from_onnx_text(TEXT.format(dtype=dtype, number=number, **numbers))
    change = to_float32(model)
    assert change is not None
    name = {"double": "float64"}.get(dtype, dtype)
    assert f"The file is in {name}; it is run and written in float32." in change
    ports = [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]
    assert {value.dtype for value in ports} == {ir.DataType.FLOAT}
    session = OnnxSession(ir.to_proto(model).SerializeToString())
    (y,) = session({"x": np.array([2, 3], np.float32)}).values()
    np.testing.assert_array_equal(y, np.array([3.5, -5.5], np.float32))


def test_a_file_in_float32_is_left_as_it_is():
    """There is no change to speak of."""
    model = ir.from_onnx_text(TEXT.format(dtype="float", number=1, **NUMBERS))
    before = ir.to_proto(model).SerializeToString()
    assert to_float32(model) is None
    assert ir.to_proto(model).SerializeToString() == before
