"""Nodes, constants and the content of one graph, put into another."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.export.ir.node_builder import (
    NodeBuilder,
    constant_of,
    producer_of,
    replace_value,
    splice,
)


def tanh_graph() -> ir.Model:
    return ir.from_onnx_text("""
        <ir_version: 8, opset_import: ["": 18]> m (float[2] x) => (float[2] y)
        <float[2] k = {1, 2}> { a = Constant<value = float[2] {3, 4}>() b = Add(a, k) y = Tanh(b) }
    """)


def test_nodes_stand_where_they_were_asked_for():
    """New nodes precede the node given, or close the graph, under the prefix."""
    graph = tanh_graph().graph
    x, last = graph.inputs[0], graph[-1]
    NodeBuilder(graph, last, "front_").op("Abs", x, name="x")
    NodeBuilder(graph).op_multi_out("Split", x, names=("left", "right"), axis=0, num_outputs=2)
    assert [node.op_type for node in graph] == ["Constant", "Add", "Abs", "Tanh", "Split"]
    assert [node.name for node in graph][2::2] == ["front_x", "left_split"]
    assert [value.name for value in graph[-1].outputs] == ["left", "right"]


def test_a_constant_never_takes_another_ones_name():
    """A taken name gets a number; dtype and values stay."""
    graph = tanh_graph().graph
    values = [NodeBuilder(graph).constant("k", np.array([n], np.int64)) for n in (5, 6)]
    assert [value.name for value in values] == ["k_1", "k_2"]
    assert [constant_of(value) for value in values] == [5, 6]
    assert {*graph.initializers} == {"k", "k_1", "k_2"}


def test_constants_are_initializers_and_constant_nodes():
    """A value that depends on an input, or none at all, is not a constant."""
    graph = tanh_graph().graph
    total, tanh = graph[1], graph[2]
    np.testing.assert_array_equal([constant_of(value) for value in total.inputs], [[3, 4], [1, 2]])
    assert constant_of(graph.inputs[0]) is None
    assert constant_of(tanh.inputs[0]) is None
    assert constant_of(None) is None


def test_a_producer_has_the_operator_that_is_asked_for():
    """An input has none, and an operator of another domain is another one."""
    graph = ir.from_onnx_text(WHOLE).graph
    add, part = graph[0], graph[1]
    assert producer_of(add.outputs[0], "Add") is add
    assert producer_of(add.outputs[0], "Mul") is None
    assert producer_of(part.outputs[0], "Part") is None
    assert producer_of(graph.inputs[0], "Add") is None
    assert producer_of(None, "Add") is None


def test_a_scalar_constant_stays_a_scalar():
    """The tensor has the shape that its value declares."""
    value = NodeBuilder(tanh_graph().graph).constant("one", np.array(1, np.float32))
    assert value.const_value is not None
    assert value.shape == value.const_value.shape == ir.Shape([])


WHOLE = """<ir_version: 8, opset_import: ["": 18, "own": 1]>
whole (float[2] x) => (float[2] y)
<float[2] w = {1, 1}> { a = Add(x, w) y = own.Part(a) z = Neg(y) }"""
PART = """<ir_version: 8, opset_import: ["": 18]>
part (float[2] p) => (float[2] q, float[2] p)
<float[2] w = {2, 2}> { q = Mul(p, w) }"""


@pytest.fixture
def whole() -> ir.Graph:
    return ir.from_onnx_text(WHOLE).graph


@pytest.fixture
def part() -> ir.Graph:
    return ir.from_onnx_text(PART).graph


def test_a_graph_is_moved_in_front_of_a_node(whole: ir.Graph, part: ir.Graph) -> None:
    """Its nodes read what is given for its inputs; an output that was one of them is that."""
    a, node = whole[0].outputs[0], whole[1]
    q, same = splice(whole, node, part, [a])
    assert [one.op_type for one in whole] == ["Add", "Mul", "Part", "Neg"]
    assert [q.name, same] == ["q", a]
    assert q.producer() is whole[1]
    assert whole[1].inputs[0] is a
    assert [len(part), len(part.inputs), len(part.outputs), len(part.initializers)] == [0] * 4


@pytest.mark.parametrize(("suffix", "name"), [("_", "w_"), ("_part", "w_part")])
def test_an_initializer_gets_a_name_of_its_own(
    whole: ir.Graph, part: ir.Graph, suffix: str, name: str
) -> None:
    """The suffix is appended where the name is taken."""
    splice(whole, whole[1], part, [whole[0].outputs[0]], suffix)
    assert list(whole.initializers) == ["w", name]
    assert whole[1].inputs[1] is whole.initializers[name]


def test_a_value_takes_the_place_of_another(whole: ir.Graph) -> None:
    """It has the name, type and shape of the other, and is read and given back in its place."""
    a, y = whole[0].outputs[0], whole[1].outputs[0]
    replace_value(y, a)
    assert [a.name, str(a.dtype), list(a.shape or ())] == ["y", "FLOAT", [2]]
    assert [whole[2].inputs[0], *whole.outputs] == [a, a]
