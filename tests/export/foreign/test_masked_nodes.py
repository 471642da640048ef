"""Nodes with `sequence_lens`, as nodes without."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.foreign.masked_nodes import remove_lengths
from edgernn.export.ir.onnx_session import OnnxSession
from tests.nets.onnx_files import HIDDEN, WIDTH, port, recurrent, weights, write

LENGTHS = np.array([5, 1, 3], np.int32)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_results_are_those_of_the_node(tmp_path, op, direction):
    """Outputs are zero after the ends, and final states are those at the ends."""
    directions = 2 if direction == "bidirectional" else 1
    states = ["h", "c"] if op == "LSTM" else ["h"]
    finals = [f"{state}_end" for state in states]
    node = recurrent(op, ("x", "W", "R", "B", "lengths", *states), ("y", *finals))
    for name, value in (("direction", direction), *[("linear_before_reset", 1)] * (op == "GRU")):
        node.attribute.append(ir.to_proto(ir.convenience.convert_attribute(name, value)))
    shapes: dict[str, list[int | str]] = {
        "x": ["T", "B", WIDTH],
        **{one: [directions, "B", HIDDEN] for one in states},
    }
    inputs = [*(port(name, shape) for name, shape in shapes.items()), port("lengths", ["B"], 6)]
    file = write(tmp_path / "m.onnx", [node], weights(op, directions), inputs)
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((5, 3, WIDTH)).astype(np.float32),
        **{one: rng.standard_normal((directions, 3, HIDDEN)).astype(np.float32) for one in states},
        "lengths": LENGTHS,
    }
    expected = OnnxSession(str(file))(feeds)

    model = ir.load(file)
    remove_lengths(model.graph, model.graph[0])

    left = [node for node in model.graph if node.op_type == op]
    assert len(left) == directions
    assert {(node.inputs[4], "direction" in node.attributes) for node in left} == {(None, False)}
    got = OnnxSession(ir.to_proto(model).SerializeToString())(feeds)
    assert list(got) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, atol=1e-6, err_msg=name)
