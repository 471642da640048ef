"""Nodes and constants copied from one graph into another."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgernn.errors import UnsupportedModelError
from edgernn.export.lift.step_graph import NodeCopier

GRAPH = ir.from_onnx_text(
    """<ir_version: 8, opset_import: ["": 18]> g (float[2] x, float[2] y) => (float[2] z)
    <float[2] w = {1, 2}> { half = Mul(w, y) z = Add(x, half) }"""
).graph


def test_a_constant_is_copied_once():
    """A weight that several nodes read is one weight of the new graph, and so are sizes."""
    copier = NodeCopier(ir.tape.Tape())
    weight = GRAPH.initializers["w"]
    assert copier.constant(weight) is copier.constant(weight)
    assert copier.integers([1, 2]) is copier.integers((1, 2))
    assert [value.name for value in copier.tape.initializers] == ["w", "sizes_1_2"]


def test_what_is_computed_from_copies_is_copied_with_its_nodes():
    """Down to weights and to values whose copies exist already."""
    tape = ir.tape.Tape()
    y = ir.Value(name="other")
    half = NodeCopier(tape, {GRAPH.inputs[1]: y}).constant(GRAPH[0].outputs[0])
    (node,) = tape.nodes
    assert (node.op_type, node.inputs[1], node.outputs[0]) == ("Mul", y, half)


def test_an_input_without_a_copy_is_refused():
    """It has no value that could be copied."""
    with pytest.raises(UnsupportedModelError) as caught:
        NodeCopier(ir.tape.Tape()).constant(GRAPH.inputs[0])
    assert str(caught.value) == "Initializer `x` has no value."


def test_a_node_has_other_inputs_and_the_same_outputs():
    """Shapes are copied only where they stay."""
    x = ir.Value(name="xs")
    for shaped in (True, False):
        (z,) = NodeCopier(ir.tape.Tape()).node(GRAPH[1], [x, x], shaped)
        assert (z.name, z.shape) == ("z", GRAPH.outputs[0].shape if shaped else None)
