"""The rules for the text of sizes that follow from dynamic axes."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgernn.axis_sizes import evaluate_size
from edgernn.export.ir.symbolic_dims import (
    canonical_size,
    evaluate_axes,
    write_canonical,
    write_readable,
)

NAMES = st.sampled_from(["batch", "sequence", "1", "2", "3", "7"])
SIZES = st.recursive(
    NAMES,
    lambda inner: (
        st.builds("({}{}{})".format, inner, st.sampled_from("+-*"), inner)
        | st.builds("({}//{})".format, inner, st.integers(1, 6))
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ("((sequence//2)) - 1", "sequence//2 - 1"),
        ("(((sequence - 1)//2) + 1)//2", "(sequence + 1)//4"),
        ("2*(sequence//2)", "2*(sequence//2)"),
        ("sequence - 2 + 2", "sequence"),
        ("batch//batch", "1"),
        ("batch*sequence", "batch*sequence"),
        ("sequence*batch", "sequence*batch"),
        ("sequence - (Mod(sequence, 4))", "4*(sequence//4)"),
        ("CeilDiv(sequence, 2)", "-(-sequence//2)"),
        ("Max(1, sequence)", "Max(1, sequence)"),
        ("unk__0", "unk__0"),
    ],
)
def test_one_text_for_one_size(size, text):
    """Divisions are joined, terms collected; what says an order, or is no such size, stays."""
    assert canonical_size(size) == text


@given(SIZES, st.integers(1, 40), st.integers(1, 40))
def test_the_size_stays_the_same(size, batch, sequence):
    """Whatever is written, it comes to the same number, and is written so again."""
    symbols = {"batch": batch, "sequence": sequence}
    text = canonical_size(size)
    assert evaluate_size(text, symbols) == evaluate_size(size, symbols)
    assert canonical_size(text) == text


def test_every_value_of_a_graph_is_written_so():
    """Inputs, values between and outputs; what comes to a number becomes one."""
    x = ir.Value(name="x", shape=ir.Shape(["batch", "((sequence//2)) - 1", 4]))
    node = ir.node("Relu", [x])
    node.outputs[0].shape = ir.Shape(["batch//batch", None, 4])
    graph = ir.Graph([x], node.outputs, nodes=[node])
    write_canonical(ir.Model(graph, ir_version=8))
    assert [str(value.shape) for value in (x, *node.outputs)] == [
        "[batch,sequence//2 - 1,4]",
        "[1,None,4]",
    ]


def test_functions_that_onnx_ir_does_not_know_are_written_out_or_unknown():
    """Torch's remainder becomes a division; what is no arithmetic of integers is left open."""
    x = ir.Value(name="x", shape=ir.Shape(["s + PythonMod(-s, 2)", "CeilToInt(s/2)", "Min(20, s)"]))
    write_readable(ir.Model(ir.Graph([x], [x], nodes=[]), ir_version=8))
    assert str(x.shape) == "[-2*(-s//2),None,Min(20, s)]"


def test_an_axis_that_is_given_a_size():
    """Sizes that depend on it alone become numbers; others keep whole divisions."""
    dims: list[int | str | None] = [
        "batch",
        "sequence//4",
        "batch*(sequence//4)",
        "Max(batch, 2)",
        5,
        None,
    ]
    value = ir.Value(name="x", shape=ir.Shape(dims))
    model = ir.Model(ir.Graph([value], [], nodes=[]), ir_version=8)
    evaluate_axes(model, {"batch": 3})
    assert value.shape is not None
    assert [dim if isinstance(dim, int) else dim.value for dim in value.shape] == [
        *(3, "sequence//4", "3*(sequence//4)", 3, 5, None),
    ]
    evaluate_axes(model, {"sequence": 9})
    assert list(value.shape)[:3] == [3, 2, 6]
