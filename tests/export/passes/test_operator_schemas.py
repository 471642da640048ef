"""What operators take and give in one opset."""

from __future__ import annotations

import onnx_ir as ir

from edgernn.export.passes.operator_schemas import allows, schema_of


def test_an_operator_has_a_schema_from_its_first_opset_on() -> None:
    """GridSample came with opset 16."""
    assert schema_of("GridSample", 15) is None
    assert schema_of("GridSample", 16) is not None


def test_dtypes_of_inputs() -> None:
    """CumSum has no float16; the last of the inputs of a Concat repeats."""
    cumsum, concat = schema_of("CumSum", 18), schema_of("Concat", 18)
    assert cumsum is not None
    assert concat is not None
    assert allows(cumsum.inputs, 0, ir.DataType.FLOAT)
    assert allows(cumsum.inputs, 0, ir.DataType.DOUBLE)
    assert not allows(cumsum.inputs, 1, ir.DataType.FLOAT)
    assert allows(concat.inputs, 7, ir.DataType.FLOAT16)
