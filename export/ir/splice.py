"""The content of one graph put into another.

graph:  x → loop → y            part:  a → Relu → b

splice(graph, loop, part, [x])  gives  x → Relu → b,   x → loop → y
replace_value(y, b)             gives  x → Relu → y
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

__all__ = ["replace_value", "splice"]


def splice(
    graph: ir.Graph,
    before: ir.Node,
    part: ir.Graph,
    inputs: Sequence[ir.Value],
    suffix: str = "_",
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
