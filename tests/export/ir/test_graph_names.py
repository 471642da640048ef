"""Ports of graphs, and the names of their weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgernn.contract import Port
from edgernn.export.ir.graph_names import name_after_model, port_of, remove_unused_initializers


@pytest.mark.parametrize(
    ("value", "port"),
    [
        (
            ir.val("x", ir.DataType.FLOAT, ["batch", 3, None]),
            Port("x", "float32", ("batch", 3, "?")),
        ),
        (ir.val("n", ir.DataType.INT64, []), Port("n", "int64", ())),
        (ir.val("text", ir.DataType.STRING, [1]), Port("text", "string", (1,))),
        (ir.val("y"), Port("y", "unknown", ("?",))),
    ],
)
def test_what_is_declared_becomes_a_port(value: ir.Value, port: Port) -> None:
    """What is not declared has a placeholder."""
    assert port_of(value) == port


def model_with(names: list[str], unread: tuple[str, ...] = ()) -> ir.Model:
    """Return x plus every initializer; those of `unread` are not read."""
    x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    weights = {
        name: ir.Value(name=name, const_value=ir.tensor(np.ones(1, np.float32), name=name))
        for name in names
    }
    nodes, total = [], x
    for name in names:
        if name not in unread:
            nodes.append(ir.node("Add", [total, weights[name]]))
            total = nodes[-1].outputs[0]
    graph = ir.Graph([x], [total], nodes=nodes, initializers=list(weights.values()))
    return ir.Model(graph, ir_version=8)


def test_weights_are_called_as_in_the_state_dict():
    """What wraps the model in the trace is no part of their names."""
    model = model_with(["module.rnn.bias", "module.module.head", "val_1"])
    name_after_model(model)
    assert set(model.graph.initializers) == {"rnn.bias", "module.head", "val_1"}


def test_no_name_is_given_twice():
    """A name that a port has already is left alone."""
    model = model_with(["module.x", "module.y", "y"])
    name_after_model(model)
    assert list(model.graph.initializers) == ["module.x", "module.y", "y"]


def test_what_no_node_reads_is_dropped():
    """A weight that was written in another form does not stay in the file."""
    model = model_with(["a", "b"], unread=("a",))
    remove_unused_initializers(model)
    assert list(model.graph.initializers) == ["b"]
