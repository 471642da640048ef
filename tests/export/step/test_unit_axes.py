"""Axes of size 1 that a step graph has no need of."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.ir.shapes import infer_shapes
from edgernn.export.step.unit_axes import remove_unit_axis_moves
from tests.nets.layer_graphs import draw_feeds, run, session

CONSTANTS = """
    int64[1] a0 = {0}, int64[1] a1 = {1}, int64[1] a2 = {2}, int64[1] last = {-1}, int64 only = {0},
    float[2,3] W = {1, 2, 3, 4, 5, 6}, float[2] v = {1, 2}, float[3,2] E = {1, 2, 3, 4, 5, 6},
    int64[2] halves = {1, 1}, int64[2] flat = {-1, 2}
"""

CASES = {
    # name: (input, nodes, operators that remain)
    "moves that cancel": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Transpose<perm = [1, 0, 2]>(a)  y = Squeeze(b, a0)",
        ["Identity"],
    ),
    "moves that do not": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  y = Unsqueeze(a, a0)",
        ["Unsqueeze"],
    ),
    "a move to another place": (
        "float[batch,1,2] x",
        "a = Squeeze(x, a1)  y = Unsqueeze(a, a0)",
        ["Reshape"],
    ),
    "a move of two symbols": (
        "float[batch,1,other] x",
        "a = Squeeze(x, a1)  y = Unsqueeze(a, a0)",
        ["Squeeze", "Unsqueeze"],
    ),
    "a transpose that is no move": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Transpose<perm = [2, 1, 0]>(a)  y = Squeeze(b, a1)",
        ["Unsqueeze", "Transpose", "Squeeze"],
    ),
    "equal sizes swapped": ("float[2,2] x", "y = Transpose<perm = [1, 0]>(x)", ["Transpose"]),
    "elementwise": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Tanh(a)  c = Add(b, v)  d = Mul(c, a)  y = Squeeze(d, a1)",
        ["Tanh", "Add", "Mul"],
    ),
    "elementwise across layouts": (
        "float[batch,2] x, float[1,batch,2] z",
        "a = Unsqueeze(x, a1)  b = Transpose<perm = [1, 0, 2]>(z)  "
        "c = Sub(a, b)  y = Squeeze(c, a1)",
        ["Sub", "Squeeze"],
    ),
    "elementwise that would meet elsewhere": (
        "float[batch,2] x, float[2] z",
        "a = Unsqueeze(x, a2)  b = Unsqueeze(z, a0)  y = Sub(a, b)",
        ["Unsqueeze", "Unsqueeze", "Sub"],
    ),
    "product": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = MatMul(a, W)  y = Squeeze(b, a1)",
        ["MatMul"],
    ),
    "product of two core axes": (
        "float[batch,other,2] x",
        "a = Unsqueeze(x, a0)  b = MatMul(a, W)  y = Squeeze(b, a0)",
        ["MatMul"],
    ),
    "lookup": (
        "int64[batch] x",
        "a = Unsqueeze(x, a1)  b = Gather(E, a)  y = Squeeze(b, a1)",
        ["Gather"],
    ),
    "lookup of one id": (
        "int64[1] x",
        "a = Squeeze(x, a0)  b = Gather(E, a)  y = Unsqueeze(b, a0)",
        ["Gather"],
    ),
    "softmax": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = LogSoftmax<axis = -1>(a)  y = Squeeze(b, a1)",
        ["LogSoftmax"],
    ),
    "softmax over another axis": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Softmax<axis = 0>(a)  y = Squeeze(b, a1)",
        ["Softmax"],
    ),
    "softmax over a unit axis": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Softmax<axis = 1>(a)  y = Squeeze(b, a1)",
        ["Unsqueeze", "Softmax", "Squeeze"],
    ),
    "layer norm": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = LayerNormalization(a, v, v)  y = Squeeze(b, a1)",
        ["LayerNormalization"],
    ),
    "layer norm before a trailing unit axis": (
        "float[batch,2,1] x",
        "a = Squeeze(x, a2)  b = LayerNormalization(a, v, v)  y = Unsqueeze(b, a2)",
        ["Squeeze", "LayerNormalization", "Unsqueeze"],
    ),
    "concat": (
        "float[batch,2] x, float[1,batch,2] z",
        "a = Unsqueeze(x, a0)  b = Concat<axis = -1>(a, z)  y = Squeeze(b, a0)",
        ["Squeeze", "Concat"],
    ),
    "concat along a unit axis": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a0)  b = Tanh(a)  y = Concat<axis = 0>(a, b)",
        ["Tanh", "Unsqueeze", "Unsqueeze", "Concat"],
    ),
    "split": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b, c = Split<axis = 2>(a, halves)  "
        "d = Sub(b, c)  y = Squeeze(d, a1)",
        ["Split", "Sub"],
    ),
    "the only index": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Relu(a)  y = Gather<axis = 1>(b, only)",
        ["Relu"],
    ),
    "the last slice": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Relu(a)  c = Slice(b, last, a2, a1)  y = Squeeze(c, a1)",
        ["Relu"],
    ),
    "an index of another axis": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = Gather<axis = 2>(a, only)  y = Squeeze(b, a1)",
        ["Unsqueeze", "Gather", "Squeeze"],
    ),
    "reshape": (
        "float[batch,4] x",
        "a = Unsqueeze(x, a1)  b = Abs(a)  y = Reshape(b, flat)",
        ["Abs", "Reshape"],
    ),
    "an operator that is not in the table": (
        "float[batch,2] x",
        "a = Unsqueeze(x, a1)  b = CumSum(a, only)  y = Squeeze(b, a1)",
        ["Unsqueeze", "CumSum", "Squeeze"],
    ),
}


def graph(inputs: str, nodes: str) -> ir.Model:
    body = "\n".join(nodes.split("  "))
    text = f'<ir_version: 8, opset_import: ["": 18]> m ({inputs}) => (y) <{CONSTANTS}> {{ {body} }}'
    model = ir.from_onnx_text(text)
    infer_shapes(model)
    output = model.graph.outputs[0]
    output.dtype = output.dtype or ir.DataType.FLOAT
    return model


@pytest.mark.parametrize(("inputs", "nodes", "left"), CASES.values(), ids=CASES.keys())
def test_moves_are_removed_and_numbers_stay(inputs: str, nodes: str, left: list[str]):
    """Exactly the operators named remain, and the output is the same in every bit."""
    model = graph(inputs, nodes)
    feeds = draw_feeds(model, 4, 1, other=3)
    before = run(session(model), feeds)
    remove_unit_axis_moves(model)
    assert [node.op_type for node in model.graph] == left
    np.testing.assert_array_equal(run(session(model), feeds)["y"], before["y"])


def test_a_port_may_come_out_twice():
    """Two outputs with one source stay two values with their own names."""
    model = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18]>
        m (float[batch,1,2] x) => (float[batch,2] y, float[batch,2] z) <int64[1] a1 = {1}>
        { a = Tanh(x) y = Squeeze(a, a1) z = Squeeze(a, a1) }
    """)
    infer_shapes(model)
    remove_unit_axis_moves(model)
    outputs = run(session(model), {"x": np.ones((3, 1, 2), np.float32)})
    assert [*outputs] == ["y", "z"]
    assert [node.op_type for node in model.graph] == ["Tanh", "Squeeze", "Identity"]


def test_a_graph_with_subgraphs_is_left_alone():
    """A subgraph may use values of the outer graph, so nothing is renamed or moved there."""
    model = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18]>
        m (bool[1] q, float[2] x) => (float[1,2] y) <int64[1] a0 = {0}>
        {
            a = Unsqueeze(x, a0)
            b = Squeeze(a, a0)
            c = If (q) <
                then_branch = t () => (float[2] d) { d = Tanh(b) },
                else_branch = e () => (float[2] f) { f = Identity(b) }
            >
            y = Unsqueeze(c, a0)
        }
    """)
    infer_shapes(model)
    before = ir.to_proto(model)
    remove_unit_axis_moves(model)
    assert ir.to_proto(model) == before
