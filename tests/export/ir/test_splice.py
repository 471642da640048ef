"""The content of one graph, put into another."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.export.ir.splice import replace_value, splice

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
