"""Shapes of values, and what is known of their sizes."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.ir.shapes import infer_shapes, shape_of


def settled(nodes: str, constants: str = "", inputs: str = "float[batch,1,6] x") -> ir.Model:
    model = ir.from_onnx_text(f"""
        <ir_version: 8, opset_import: ["": 18]> m ({inputs}) => (y)
        <int64[1] zero = {{0}}, int64[1] rest = {{-1}}, int64 first = {{0}}{constants}>
        {{ {nodes} }}
    """)
    infer_shapes(model)
    return model


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        ("{-1, 6}", ("batch", 6)),
        ("{0, -1}", ("batch", 6)),
        ("{-1, 2}", ("3*batch", 2)),
        ("{0, 1, 2, -1}", ("batch", 1, 2, 3)),
        ("{-1}", ("6*batch",)),
        ("{-1, 4}", (None, 4)),
    ],
)
def test_the_open_size_of_a_reshape_is_worked_out(target: str, shape: tuple[int | str | None, ...]):
    """What -1 stands for follows from the elements that are there, symbols included."""
    constants = f", int64[{target.count(',') + 1}] target = {target}"
    assert shape_of(settled("y = Reshape(x, target)", constants).graph.outputs[0]) == shape


@pytest.mark.parametrize(
    "sizes",
    [
        "s = Shape(x)  n = Gather(s, first)  u = Unsqueeze(n, zero)",
        "s = Shape<start = 0, end = 1>(x)  u = Identity(s)",
        "s = Shape(x)  u = Slice(s, zero, one, zero)",
        "s = Shape<end = 2>(x)  a = Gather(s, first)  b = Gather(s, second)  n = Mul(a, b)"
        "  u = Reshape(n, rest)",
    ],
)
def test_a_size_taken_from_a_shape_becomes_a_constant(sizes: str):
    """Whichever operators lead from Shape to Reshape, none of them is left."""
    nodes = "\n".join(f"{sizes}  t = Concat<axis = 0>(u, rest)  y = Reshape(x, t)".split("  "))
    model = settled(nodes, ", int64[1] one = {1}, int64 second = {1}")
    assert [node.op_type for node in model.graph] == ["Reshape"]
    assert shape_of(model.graph.outputs[0]) == ("batch", 6)


def test_a_size_that_depends_on_data_stays():
    """A Reshape to a size that comes in as data is left, with nothing claimed about its output."""
    model = settled("y = Reshape(x, n)", inputs="float[batch,1,6] x, int64[2] n")
    assert shape_of(model.graph.outputs[0]) == (None, None)


def test_stale_shapes_are_forgotten():
    """Shapes are inferred from the inputs, whatever was declared inside."""
    model = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18]> m (float[batch,2] x) => (float[batch,7] y)
        <float[batch,7] a> { a = Tanh(x)  y = Relu(a) }
    """)
    infer_shapes(model)
    assert shape_of(model.graph.outputs[0]) == ("batch", 2)


def test_a_projected_lstm_has_the_projections_width():
    """Y and the last h are proj_size wide, the last c hidden_size, through a stack of two."""
    model = ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18, "edgernn": 1]>
        m (float[1,batch,3] x, float[1,16,3] W, float[1,16,2] R, float[1,32] B, float[1,2,4] P,
           float[1,16,2] V, float[1,batch,2] h, float[1,batch,4] c) => (z, h1, c1)
        <int64[1] one = {1}>
        {
            y, h0, c0 = edgernn.LSTM(x, W, R, B, P, h, c)
            s = Squeeze(y, one)
            z, h1, c1 = edgernn.LSTM(s, V, R, B, P, h, c)
        }
    """)
    infer_shapes(model)
    assert [shape_of(value) for value in model.graph.outputs] == [
        (1, 1, "batch", 2),
        (1, "batch", 2),
        (1, "batch", 4),
    ]


def test_an_unknown_axis_is_not_taken_for_another():
    """Where a size is unknown before and behind a Reshape, it is worked out, not copied."""
    model = settled(
        "b = Shape<start = 1, end = 2>(h)  t = Concat<axis = 0>(rest, b, six)  n = NonZero(x)  "
        "u = Transpose(n)  v = Cast<to = 1>(u)  w = Slice(v, zero, one, zero)  y = Reshape(w, t)",
        ", int64[1] six = {3}, int64[1] one = {2}",
        "float[batch,1,6] x, float[1,batch,6] h",
    )
    reshape = next(node for node in model.graph if node.op_type == "Reshape")
    assert shape_of(reshape.outputs[0]) == (None, "batch", 3)
    target = reshape.inputs[1]
    assert target is not None
    assert not target.is_initializer()


def test_a_reshape_that_copies_an_axis_beyond_the_last_is_left():
    """A sequence without steps gives such a target: 0 is its size, not an axis to copy."""
    model = settled("y = Reshape(x, target)", ", int64[4] target = {1, 2, 3, 0}")
    assert shape_of(model.graph.outputs[0]) is None
