"""A forward as a graph of torch's operators at one set of sizes, its loops over time unrolled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.recurrent_calls import RecurrentCallMode
from edgernn.export.ir.fold_constants import silence_exporters
from edgernn.export.reroll.computed_weights import compute_weights
from edgernn.export.reroll.normalize import normalize
from edgernn.export.reroll.torch_operators import FILLED, SELECT, SYM_SIZE, is_random, takes_tensors
from edgernn.export.trace.export_forward import export_forward

__all__ = ["unroll"]


def unroll(
    module: nn.Module, example: ExampleCall, constant: Collection[str] = ()
) -> fx.GraphModule:
    """Return the operators of `module` at the sizes of `example`, normalized.

    The placeholders are the leaves of the example, in order.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.
        constant: Axes whose sizes are integers; others are symbols where forward does not look at
            their size.
    """
    with silence_exporters(), preserve_state(module):
        program = export_forward(
            module,
            example,
            mode=lambda _: RecurrentCallMode(lambda call, proceed: proceed(call.states)),
            dim=lambda axis: Dim.STATIC if axis in constant else Dim.AUTO,
        )
        program = program.run_decompositions({torch.ops.aten.one_hot.default: _one_hot})
        root: Any = program.module(check_guards=False)
    compute_weights(root, root.graph)
    normalize(root.graph, [size for symbol, size in example.sizes.items() if symbol != BATCH])
    return fx.GraphModule(root, _input_independent_first(root.graph))


def _one_hot(ids: torch.Tensor, classes: int) -> torch.Tensor:
    """Return torch's `one_hot`, which itself takes no number of classes that follows a size."""
    return (ids.unsqueeze(-1) == torch.arange(classes)).long()


def _input_independent_first(graph: fx.Graph) -> fx.Graph:
    """Return the graph with weights, sizes and what is made from sizes first, each thing once.

    Zeros made in the first iteration of a loop are then made before it.
    """
    ordered = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    unique: dict[str, fx.Node] = {}
    first = [*graph.find_nodes(op="placeholder"), *graph.find_nodes(op="get_attr")]
    for node in [*first, *(node for node in _made_from_sizes(graph) if node not in first)]:
        arguments = fx.map_arg((node.args, node.kwargs), copies.__getitem__)
        key = node.name if node.op != "call_function" else f"{node.target}{arguments}"
        if key not in unique:
            unique[key] = ordered.node_copy(node, copies.__getitem__)
        copies[node] = unique[key]
    for node in graph.nodes:
        if node not in copies:
            copies[node] = ordered.node_copy(node, copies.__getitem__)
    return ordered


def _made_from_sizes(graph: fx.Graph) -> list[fx.Node]:
    """Return the weights, the sizes, and what is made from sizes only, in order."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        step = node.target is SELECT and node.args[0].target in FILLED
        made = node.op == "call_function" and (step or not takes_tensors(node))
        made = made and all(operand in found for operand in node.all_input_nodes)
        if node.op == "get_attr" or node.target is SYM_SIZE or (made and not is_random(node)):
            found[node] = None
    return list(found)
