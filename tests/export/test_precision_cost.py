"""What is reported of a precision."""

from __future__ import annotations

import onnx_ir as ir

from edgernn.export.precision_cost import precision_notes, precision_report
from edgernn.precision_report import ChainedRun
from edgernn.report import Check, ParityReport

MODEL = ir.from_onnx_text(
    '<ir_version: 8, opset_import: ["": 18]> g (float[n, 2] x) => (float[n, 2] y) '
    "<float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"
)
CHECKS = (
    Check("whole", "sequence", 1, 2000, "zero", 0.5),
    Check("chunks", "sequence", 1, 8, "zero", 0.1),
    Check("drift", "sequence", 1, 1000, "zero", 0.2),
    Check("steps", "step", 1, 9, "zero", 0.3),
)


def test_the_longest_chained_runs_count():
    """A whole run is not chained."""
    report = ParityReport("eager torch", 1.0, CHECKS)
    found = precision_report("int8", {"sequence": MODEL}, report, None)
    assert found is not None
    assert found.chained == (ChainedRun("sequence", 1000, 0.2), ChainedRun("step", 9, 0.3))
    assert [one.name for one in found.weights["sequence"]] == ["w"]


def test_float32_has_nothing_to_say():
    """Neither report nor notes, unless there are data of the user's."""
    assert precision_report("float32", {"sequence": MODEL}, None, None) is None
    assert precision_notes("float32", None) == ()
