"""The session that graphs are proven in."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.onnx_session import fresh_session


def graph(ir_version: int) -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    model.ir_version = ir_version
    return bytes(model.SerializeToString())


def test_a_graph_is_opened_on_the_cpu():
    """Nothing else takes part in a proof."""
    assert fresh_session(graph(8)).get_providers() == ["CPUExecutionProvider"]


def test_a_graph_that_is_too_new_is_refused():
    """An ONNX Runtime older than the graph says so, and what can be done."""
    with pytest.raises(UnsupportedModelError) as caught:
        fresh_session(graph(99))
    before, reason, after = str(caught.value).partition("Unsupported model IR version: 99")
    assert before.startswith(f"ONNX Runtime {onnxruntime.__version__} cannot load the graph: ")
    assert reason
    assert after.endswith(
        " It is older than the graph's opset: upgrade it, or choose an older one with --opset."
    )
