"""Ports of a graph, found and replaced."""

from __future__ import annotations

import onnx_ir as ir

from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.passes.port_values import (
    batch_axis,
    describe_state,
    new_output,
    position_of,
    replace_node,
)


def model() -> ir.Model:
    return ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[2, batch] h, int64[1] n) => (float[2, batch] y, float[2, batch] z)
        { y = Relu(h)  z = Neg(y) }"""
    )


def test_ports_are_found_by_name() -> None:
    """The position is that among inputs, or among outputs."""
    graph = model().graph
    assert (position_of(graph.inputs, "n"), position_of(graph.outputs, "z")) == (1, 1)


def test_the_batch_is_a_dynamic_axis() -> None:
    """It is an axis of that name; a message shows the shape."""
    h, n = model().graph.inputs
    assert (batch_axis(h), batch_axis(n)) == (1, None)
    assert describe_state(h) == "State `h` is [2, batch]"


def test_a_port_is_copied_for_a_new_output() -> None:
    """A value has one name: one that is a port already goes through an Identity."""
    graph = model().graph
    y, _ = graph.outputs
    copy = new_output(graph, y, "again", y.shape, y.type)
    assert (y.name, copy.name) == ("y", "again")
    node = copy.producer()
    assert node is not None
    assert node.op_type == "Identity"


def test_a_replaced_output_keeps_its_name() -> None:
    """Hosts read outputs by name, whatever computes them."""
    graph = model().graph
    (relu, neg) = graph
    replace_node(neg, NodeBuilder(graph, neg).op("Abs", relu.outputs[0], name="other"))
    assert [(node.op_type, node.outputs[0].name) for node in graph] == [("Relu", "y"), ("Abs", "z")]
    assert graph.outputs[1].shape == ir.Shape([2, "batch"])
