"""The session that graphs are proven in."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.ir.onnx_session import Arrays, OnnxSession, failure_reason


def graph(ir_version: int = 8) -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[2] x, float z) => (float[2] y, float w)'
        "{ y = Neg(x) w = Neg(z) }"
    )
    model.ir_version = ir_version
    return bytes(model.SerializeToString())


FEEDS: Arrays = {
    "x": np.ones((2, 2), np.float32)[:, 0],
    "z": np.array(3, np.float32),
    "other": np.zeros(1),
}


def test_a_graph_is_opened_on_the_cpu(monkeypatch):
    """Nothing else takes part in a proof."""
    opened = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            opened.append(self)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    OnnxSession(graph())
    assert [session.get_providers() for session in opened] == [["CPUExecutionProvider"]]


def test_a_graph_is_a_function_of_its_inputs_by_name():
    """Scalars stay scalars, strides are of any kind, arrays of other names are ignored."""
    session = OnnxSession(graph())
    assert [session.inputs, session.outputs] == [["x", "z"], ["y", "w"]]
    results = session(FEEDS)
    np.testing.assert_array_equal(results["y"], [-1, -1])
    assert [results["w"].shape, results["w"].item()] == [(), -3]


def test_only_the_results_that_are_asked_for_are_returned():
    """They come in the order in which they are asked for."""
    assert list(OnnxSession(graph())(FEEDS, ["w"])) == ["w"]


def test_the_reason_of_a_failure_has_no_codes():
    """A message of ours quotes what ONNX Runtime says, and no numbers of its own."""
    with pytest.raises(Exception, match="ONNXRuntimeError") as caught:
        OnnxSession(graph())({**FEEDS, "x": np.ones(3, np.float32)})
    assert failure_reason(caught.value) == (
        "Got invalid dimensions for input: x for the following indices"
    )


def test_a_graph_that_is_too_new_is_refused():
    """An ONNX Runtime older than the graph says so, and what can be done."""
    with pytest.raises(UnsupportedModelError) as caught:
        OnnxSession(graph(99))
    before, reason, after = str(caught.value).partition("Unsupported model IR version: 99")
    assert before.startswith(f"ONNX Runtime {onnxruntime.__version__} cannot load the graph: ")
    assert reason
    assert after.endswith(
        " It is older than the graph's opset: upgrade it, or choose an older one with `opset`."
    )
