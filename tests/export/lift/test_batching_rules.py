"""Which axis of a result is the batch, operator by operator."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.ir.shapes import infer_shapes
from edgernn.export.lift.batching_rules import MixedBatchError, batch_axes


def node_of(ports: str, line: str) -> ir.Node:
    """Return the last node of a graph, its shapes inferred."""
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 18]> g ({ports} {{ {line} }}')
    infer_shapes(model)
    return list(model.graph)[-1]


X = "float[batch, 3, 4] x) => (float[n] y)"


@pytest.mark.parametrize(
    ("ports", "line", "axes", "expected"),
    [
        (X, "y = Tanh(x)", [0], 0),
        ("float[3, batch] x, float[3, 1] k) => (float[n] y)", "y = Add(x, k)", [1, None], 1),
        ("float[batch] x, float[5, 1] k) => (float[n] y)", "y = Mul(k, x)", [None, 0], 1),
        ("float[batch, 3] x, float[3, 5] k) => (float[n] y)", "y = MatMul(x, k)", [0, None], 0),
        ("float[3, batch] x, float[5, 3] k) => (float[n] y)", "y = MatMul(k, x)", [None, 1], 1),
        (
            "float[batch, 3] x, float[5, 3] k) => (float[n] y)",
            "y = Gemm<transB=1>(x, k)",
            [0, None],
            0,
        ),
        ("int64[batch] x, float[5, 3] k) => (float[n] y)", "y = Gather(k, x)", [None, 0], 0),
        (
            "int64[batch] x, float[3, 5] k) => (float[n] y)",
            "y = Gather<axis=1>(k, x)",
            [None, 0],
            1,
        ),
        (X, "i = Constant<value_int=1>() y = Gather<axis=1>(x, i)", [0, None], 0),
        (X, "y = Transpose<perm=[1, 2, 0]>(x)", [0], 2),
        (X, "y = Softmax(x)", [0], 0),
        (X, "a = Constant<value_ints=[0, 3]>() y = Unsqueeze(x, a)", [0, None], 1),
        (X, "a = Constant<value_ints=[1]>() y = ReduceMean<keepdims=0>(x, a)", [0, None], 0),
        (X, "s = Constant<value_ints=[1, -1, 12]>() y = Reshape(x, s)", [0, None], 1),
        (X, "y = ArgMax<axis=2>(x)", [0], 0),
        (X, "p = Constant<value_ints=[0, 0, 1, 0, 2, 0]>() y = Pad(x, p)", [0, None], 0),
        (
            X,
            "p = Constant<value_ints=[1, 2]>() a = Constant<value_ints=[-1]>() "
            'y = Pad<mode="reflect">(x, p, , a)',
            [0, None, None, None],
            0,
        ),
    ],
)
def test_the_batch_axis_is_found_in_the_output(ports, line, axes, expected):
    """The batch axis is followed through an operator that keeps its entries apart."""
    assert batch_axes(node_of(ports, line), axes) == [expected]


@pytest.mark.parametrize(
    ("ports", "line", "axes", "operator"),
    [
        (
            "float[batch, 3] x, float[batch, 3] k) => (float[n] y)",
            "y = Add(x, k)",
            [0, None],
            "Add",
        ),
        ("float[3, batch] x, float[batch, 3] k) => (float[n] y)", "y = Add(x, k)", [1, 0], "Add"),
        (
            "float[5, batch] x, float[batch, 3] k) => (float[n] y)",
            "y = MatMul(x, k)",
            [1, None],
            "MatMul",
        ),
        (
            "float[batch, 3] x, float[3, batch] k) => (float[n] y)",
            "y = MatMul(x, k)",
            [0, 1],
            "MatMul",
        ),
        (
            "float[3, batch] x, float[3, 5] k) => (float[n] y)",
            "y = Gemm<transA=1>(x, k)",
            [0, None],
            "Gemm",
        ),
        (X, "y = Softmax<axis=0>(x)", [0], "Softmax"),
        (X, "y = Concat<axis=0>(x, x)", [0, 0], "Concat"),
        (X, "a = Constant<value_ints=[0]>() y = ReduceMean(x, a)", [0, None], "ReduceMean"),
        (X, "s = Constant<value_ints=[-1, 4]>() y = Reshape(x, s)", [0, None], "Reshape"),
        (X, "y = ArgMax<axis=0>(x)", [0], "ArgMax"),
        (X, "p = Constant<value_ints=[0, 0, 0, 1, 0, 0]>() y = Pad(x, p)", [0, None], "Pad"),
        (X, "i = Constant<value_int=0>() y = Gather<axis=0>(x, i)", [0, None], "Gather"),
    ],
)
def test_a_mixed_batch_is_refused(ports, line, axes, operator):
    """An operator that lets one entry see another is refused by name."""
    node = node_of(ports, line)
    node.name = "it"
    with pytest.raises(MixedBatchError) as refusal:
        batch_axes(node, axes)
    assert str(refusal.value) == f"`{operator}` `it` mixes the entries of a batch"


def test_an_unknown_operator_is_refused():
    """What is not in the table is not assumed to keep entries apart."""
    with pytest.raises(MixedBatchError) as refusal:
        batch_axes(node_of(X, "y = CumSum(x, x)"), [0, 0])
    assert str(refusal.value) == "`CumSum` is not known to keep the entries of a batch apart"
