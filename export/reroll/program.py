"""A forward as a list of torch's operators, at one set of sizes.

torch.export unrolls a Python loop over time: every iteration leaves its operators one behind the
other.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.recurrent_calls import TraceableDataMode
from edgernn.export.ir.fold_constants import silence_exporters
from edgernn.export.reroll.computed_weights import compute_weights
from edgernn.export.reroll.normalize import FILLED, SELECT, SYM_SIZE, takes_tensors, tidy
from edgernn.export.trace.flat_module import Flat

__all__ = ["Program", "read_program"]

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Program:
    """The operators of one forward.

    Attributes:
        root: Holds the weights that the `get_attr` nodes of `graph` name.
        graph: The operators; its placeholders are the leaves of the example, in order.
    """

    root: nn.Module
    graph: fx.Graph

    @property
    def inputs(self) -> list[fx.Node]:
        """The placeholders."""
        return self.graph.find_nodes(op="placeholder")

    def weight(self, node: fx.Node) -> torch.Tensor:
        """Return what a `get_attr` node names."""
        weight: torch.Tensor = operator.attrgetter(str(node.target))(self.root)
        return weight


def read_program(module: nn.Module, example: ExampleCall, numbers: Collection[str] = ()) -> Program:
    """Return the operators of `module` at the sizes of `example`.

    Axes whose size forward does not look at stay symbols; the others, and `numbers`, are numbers.
    """
    dynamic = tuple(
        {
            axis: Dim.STATIC if size in numbers else Dim.AUTO
            for axis, size in enumerate(leaf.shape)
            if isinstance(size, str)
        }
        for leaf in example.tensors
    )
    tensors = tuple(leaf.tensor.clone() for leaf in example.tensors)  # torch joins what is one
    with silence_exporters(), preserve_state(module):
        program = torch.export.export(
            Flat(module, example, list, lambda _: TraceableDataMode()),
            tensors,
            dynamic_shapes=(dynamic,),
            strict=False,
        )
        plain = program.run_decompositions({_ATEN.one_hot.default: _one_hot})
        root: Any = plain.module(check_guards=False)
    compute_weights(root, root.graph)
    tidy(root.graph, [size for symbol, size in example.sizes.items() if symbol != BATCH])
    return Program(root, _still_first(root.graph))


def _one_hot(ids: torch.Tensor, classes: int) -> torch.Tensor:
    """Return torch's `one_hot`, which itself takes no number of classes that follows a size."""
    return (ids.unsqueeze(-1) == torch.arange(classes)).long()


def _still_first(graph: fx.Graph) -> fx.Graph:
    """Return the graph with weights, sizes and what is made from sizes first, each thing once.

    Zeros made in the first iteration of a loop are then made before it.
    """
    ordered = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    made: dict[str, fx.Node] = {}
    still = _still(graph)
    ends = graph.find_nodes(op="output")
    first = [*graph.find_nodes(op="placeholder"), *graph.find_nodes(op="get_attr")]
    first += [node for node in graph.nodes if node in still and node not in first]
    for node in first:
        arguments = fx.map_arg((node.args, node.kwargs), copies.__getitem__)
        key = node.name if node.op != "call_function" else f"{node.target}{arguments}"
        if key not in made:
            made[key] = ordered.node_copy(node, copies.__getitem__)
        copies[node] = made[key]
    for node in graph.nodes:
        if node not in copies and node not in ends:
            copies[node] = ordered.node_copy(node, copies.__getitem__)
    ordered.output(fx.map_arg(ends[0].args[0], copies.__getitem__))
    return ordered


def _still(graph: fx.Graph) -> set[fx.Node]:
    """Return the weights, the sizes, and what is made from sizes alone."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        size = node.target is SYM_SIZE
        step = node.target is SELECT and node.args[0].target in FILLED
        made = node.op == "call_function" and (step or not takes_tensors(node))
        made = made and all(operand in found for operand in node.all_input_nodes)
        if node.op == "get_attr" or size or (made and not random):
            found.add(node)
    return found
