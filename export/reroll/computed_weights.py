"""Weights that forward computes from others, such as those of weight norms and weight drop."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from edgernn.export.ir.recurrent_operators import LAYER_FUNCTIONS
from edgernn.export.reroll.torch_operators import CELLS, is_random

__all__ = ["compute_weights"]

_ATEN = torch.ops.aten
_LAYERS = tuple(getattr(_ATEN, name).input for name in LAYER_FUNCTIONS)


def compute_weights(root: nn.Module, graph: fx.Graph) -> None:
    """Compute the weights of cells and layers that forward computes from other weights alone.

    Args:
        root: Holds the weights that the `get_attr` nodes of `graph` name; the new ones as buffers.
        graph: The operators of a forward; in place.
    """
    fixed = _fixed(graph)
    held: dict[int, fx.Node] = {}
    for node in list(graph.nodes):
        for weight in _weights_of(node):
            if weight in fixed and weight.op != "get_attr":
                node.replace_input_with(weight, _held(root, weight, fixed, held))
    graph.eliminate_dead_code()


def _weights_of(node: fx.Node) -> Iterator[fx.Node]:
    """Yield what a recurrent operator takes behind its input and its states."""
    if node.target in CELLS or node.target in _LAYERS:
        for argument in node.args[2:]:
            for weight in argument if isinstance(argument, (list, tuple)) else [argument]:
                if isinstance(weight, fx.Node):
                    yield weight


def _fixed(graph: fx.Graph) -> dict[fx.Node, int]:
    """Return what is computed from weights alone, with a number that what is equal shares."""
    fixed: dict[fx.Node, int] = {}
    numbers: dict[str, int] = {}
    for node in graph.nodes:
        operands = node.all_input_nodes
        alone = bool(operands) and all(operand in fixed for operand in operands)
        if node.op == "get_attr":
            key = str(node.target)
        elif node.op == "call_function" and alone and not is_random(node):
            key = f"{node.target}{fx.map_arg((node.args, node.kwargs), lambda one: fixed[one])}"
        else:
            continue
        fixed[node] = numbers.setdefault(key, len(numbers))
    return fixed


def _held(
    root: nn.Module, weight: fx.Node, fixed: dict[fx.Node, int], held: dict[int, fx.Node]
) -> fx.Node:
    """Return a node that names the value of `weight`, which `root` then holds."""
    if fixed[weight] not in held:
        source = weight
        while source.op != "get_attr":
            source = source.all_input_nodes[0]
        owner, _, name = str(source.target).rpartition(".")
        part = root.get_submodule(owner)
        name = f"{name}_computed"
        while hasattr(part, name):
            name += "_"
        part.register_buffer(name, _value(root, weight))
        with weight.graph.inserting_after(source):
            held[fixed[weight]] = made = weight.graph.get_attr(f"{owner}.{name}".strip("."))
        made.meta["val"] = weight.meta["val"]
    return held[fixed[weight]]


def _value(root: nn.Module, node: fx.Node) -> Any:
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(root)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda one: _value(root, one))
    target: Any = node.target
    with torch.no_grad():
        return target(*args, **kwargs)
