"""New nodes, constants and whole graphs at one place of a graph.

graph:  x → loop → y            part:  a → Relu → b

splice(graph, loop, part, [x])  gives  x → Relu → b,   x → loop → y
replace_value(y, b)             gives  x → Relu → y
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["NodeBuilder", "constant_of", "producer_of", "replace_value", "splice"]


class NodeBuilder:
    """Adds nodes to a graph before one of its nodes, or at its end; names begin with `prefix`."""

    def __init__(self, graph: ir.Graph, before: ir.Node | None = None, prefix: str = "") -> None:
        self._graph = graph
        self._before = before
        self._prefix = prefix

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        name: str,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """Add a node with one output, both called `name`."""
        return self.op_multi_out(op_type, *inputs, names=(name,), domain=domain, **attributes)[0]

    def op_multi_out(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        names: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node with one output for each of `names`; an input that is None is left out."""
        names = [self._prefix + name for name in names]
        outputs = [ir.Value(name=name) for name in names]
        attrs = ir.convenience.convert_attributes(attributes)
        name = names[0] if len(names) == 1 else f"{names[0]}_split"
        node = ir.Node(domain, op_type, inputs, attrs, outputs=outputs, name=name)
        if self._before is None:
            self._graph.append(node)
        else:
            self._graph.insert_before(self._before, node)
        return outputs

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """Add an initializer; where its name is taken, a number is appended."""
        unique = name = self._prefix + name
        numbers = count(1)
        while unique in self._graph.initializers:
            unique = f"{name}_{next(numbers)}"
        value = ir.val(unique, const_value=ir.tensor(np.asarray(array, order="C"), name=unique))
        self._graph.register_initializer(value)
        return value


def constant_of(value: ir.Value | None) -> NDArray[Any] | None:
    """Return the array of a constant value, or None where it is computed or an input."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def producer_of(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that computes a value, if it has this operator of the default domain."""
    node = None if value is None else value.producer()
    return node if node is not None and (node.domain, node.op_type) == ("", op_type) else None


def splice(
    graph: ir.Graph, before: ir.Node, part: ir.Graph, inputs: Sequence[ir.Value], suffix: str = "_"
) -> list[ir.Value]:
    """Move the nodes and initializers of a graph in front of a node of another, in place.

    Args:
        graph: The graph that they are moved to.
        before: The node of `graph` that they are put in front of.
        part: The graph that they are taken from; it is empty afterwards.
        inputs: A value of `graph` for each input of `part`.
        suffix: What is appended to the name of an initializer until no other has it.

    Returns:
        The values that were the outputs of `part`; where one was an input, what was given for it.
    """
    for port, value in zip(tuple(part.inputs), inputs, strict=True):
        ir.convenience.replace_all_uses_with(port, value, replace_graph_outputs=True)
    outputs, nodes = list(part.outputs), list(part)
    part.inputs.clear()
    part.outputs.clear()
    part.remove(nodes)
    for name, initializer in list(part.initializers.items()):
        del part.initializers[name]
        while initializer.name in graph.initializers:
            initializer.name = f"{initializer.name}{suffix}"
        graph.register_initializer(initializer)
    graph.insert_before(before, nodes)
    return outputs


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Put `new` in the place of `old`, with its name, type and shape; also as a graph output."""
    name, old.name = old.name, None
    new.name, new.type, new.shape = name, old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
