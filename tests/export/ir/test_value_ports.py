"""Inputs and outputs of graphs as ports."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.contract import Port
from edgernn.export.ir.value_ports import port_of


@pytest.mark.parametrize(
    ("value", "port"),
    [
        (
            ir.val("x", ir.DataType.FLOAT, ["batch", 3, None]),
            Port("x", "float32", ("batch", 3, "?")),
        ),
        (ir.val("n", ir.DataType.INT64, []), Port("n", "int64", ())),
        (ir.val("text", ir.DataType.STRING, [1]), Port("text", "string", (1,))),
        (ir.val("y"), Port("y", "unknown", ("?",))),
    ],
)
def test_what_is_declared_becomes_a_port(value: ir.Value, port: Port) -> None:
    """What is not declared has a placeholder."""
    assert port_of(value) == port
