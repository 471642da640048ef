"""The rules for the names of weights and constants in a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgernn.export.ir.initializer_names import name_after_model, remove_unused_initializers


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
