"""Weights that forward computes from others, such as those of weight norms and weight drop.

v, g = parameters                        weight_computed = v * (g / norm(v))      once
lstm(x, h, v * (g / norm(v)))      →     lstm(x, h, weight_computed)
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from edgernn.export.ir.recurrent_operators import LAYER_FUNCTIONS
from edgernn.export.reroll.torch_operators import CELLS, is_random

__all__ = ["compute_weights"]

_LAYERS = tuple(getattr(torch.ops.aten, name).input for name in LAYER_FUNCTIONS)


def compute_weights(root: nn.Module, graph: fx.Graph) -> None:
    """Compute the weights of cells and layers that forward computes from other weights only.

    Args:
        root: Holds the weights that the `get_attr` nodes of `graph` name; the new ones as buffers.
        graph: The operators of a forward; in place.
    """
    expressions = _weight_expressions(graph)
    computed: dict[int, fx.Node] = {}
    for node in list(graph.nodes):
        for weight in _weights_of(node):
            expression = expressions.get(weight)
            if expression is not None and weight.op != "get_attr":
                if expression not in computed:
                    computed[expression] = _add_buffer(root, weight)
                node.replace_input_with(weight, computed[expression])
    graph.eliminate_dead_code()


def _weights_of(node: fx.Node) -> Iterator[fx.Node]:
    """Yield what a recurrent operator takes after its input and its states."""
    if node.target in CELLS or node.target in _LAYERS:
        for argument in node.args[2:]:
            for weight in argument if isinstance(argument, (list, tuple)) else [argument]:
                if isinstance(weight, fx.Node):
                    yield weight


def _weight_expressions(graph: fx.Graph) -> dict[fx.Node, int]:
    """Return what is computed from weights only, equal expressions with the same number."""
    found: dict[fx.Node, int] = {}
    numbers: dict[str, int] = {}
    for node in graph.nodes:
        operands = node.all_input_nodes
        constant = bool(operands) and all(operand in found for operand in operands)
        if node.op == "get_attr":
            key = str(node.target)
        elif node.op == "call_function" and constant and not is_random(node):
            key = f"{node.target}{fx.map_arg((node.args, node.kwargs), found.__getitem__)}"
        else:
            continue
        found[node] = numbers.setdefault(key, len(numbers))
    return found


def _add_buffer(root: nn.Module, weight: fx.Node) -> fx.Node:
    """Return a node that names the value of `weight`, a new buffer beside its first weight."""
    source = weight
    while source.op != "get_attr":
        source = source.all_input_nodes[0]
    path, _, name = str(source.target).rpartition(".")
    owner = root.get_submodule(path)
    name = f"{name}_computed"
    while hasattr(owner, name):
        name += "_"
    owner.register_buffer(name, _value(root, weight))
    with weight.graph.inserting_after(source):
        node = weight.graph.get_attr(f"{path}.{name}".strip("."))
    node.meta["val"] = weight.meta["val"]
    return node


def _value(root: nn.Module, node: fx.Node) -> Any:
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(root)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda one: _value(root, one))
    target: Any = node.target
    with torch.no_grad():
        return target(*args, **kwargs)
