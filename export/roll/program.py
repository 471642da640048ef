"""A forward as a list of torch's operators, at one set of sizes.

torch.export unrolls a Python loop over time: every iteration leaves its operators one behind the
other. The list is brought into a form in which all iterations look alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from edgernn.contract import BATCH
from edgernn.export.example.call import Example
from edgernn.export.trace.flat import Flat
from edgernn.export.trace.trace import quiet
from edgernn.export.trace.untouched import untouched

__all__ = ["SELECT", "SLICE", "SYM_SIZE", "Program", "read_program", "shape_of"]

_ATEN = torch.ops.aten
SELECT, SLICE, SYM_SIZE = _ATEN.select.int, _ATEN.slice.Tensor, _ATEN.sym_size.int
_UNBIND = _ATEN.unbind.int


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


def read_program(module: nn.Module, example: Example) -> Program:
    """Return the operators of `module` at the sizes of `example`.

    Axes whose size forward does not look at stay symbols; the others are numbers.
    """
    dynamic = tuple(
        {axis: Dim.AUTO for axis, size in enumerate(leaf.shape) if isinstance(size, str)}
        for leaf in example.leaves
    )
    tensors = tuple(leaf.tensor.clone() for leaf in example.leaves)  # torch joins what is one
    with quiet(), untouched(module):
        program = torch.export.export(
            Flat(module, example, list), tensors, dynamic_shapes=(dynamic,), strict=False
        )
        root: Any = program.run_decompositions({}).module(check_guards=False)
    _tidy(root.graph, [size for symbol, size in example.sizes.items() if symbol != BATCH])
    return Program(root, _still_first(root.graph))


def shape_of(node: fx.Node) -> tuple[Any, ...] | None:
    """Return the sizes of a tensor, numbers and symbols; None for what is no tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(int(size) if is_concrete_int(size) else size for size in value.shape)


def _tidy(graph: fx.Graph, steps: Sequence[int]) -> None:
    """Drop what only checks or hands on, and take single steps from the whole.

    What is made in float32 is then made in the default dtype, as in a copy in float64.

    Args:
        graph: The operators; in place.
        steps: The sizes of the axes that forward may loop over.
    """
    for node in list(graph.nodes):
        if getattr(node.target, "__name__", "").partition(".")[0] in _CHECKS:
            graph.erase_node(node)
        elif node.target in _PARTS:
            _take_parts(node, steps)
        elif node.target in _ALIKE:
            _make_from_sizes(node)
    for node in list(graph.nodes):
        same = _handed_on(node)
        if same is not None:
            node.replace_all_uses_with(same)
    for node in graph.nodes:
        if node.target is _ATEN.view.default:
            node.target = _ATEN.reshape.default  # a view of what a loop left in another order
        if node.kwargs.get("dtype") is torch.float32 and not _takes_tensors(node):
            node.kwargs = {name: one for name, one in node.kwargs.items() if name != "dtype"}
    graph.eliminate_dead_code()


def _takes_tensors(node: fx.Node) -> bool:
    return any(shape_of(operand) is not None for operand in node.all_input_nodes)


def _take_parts(node: fx.Node, steps: Sequence[int]) -> None:
    """Take each part that `node` splits a tensor into from the whole.

    The steps of a sequence are taken where they are used, each in its own iteration.
    """
    whole: Any = node.args[0]
    place = _PARTS[node.target]
    axis: Any = node.args[place] if len(node.args) > place else 0
    sizes = [1 if node.target is _UNBIND else part.shape[axis] for part in node.meta["val"]]
    if not all(isinstance(size, int) for size in sizes):
        return
    starts = [0, *itertools.accumulate(sizes)]
    in_loop = set(sizes) == {1} and any(abs(len(sizes) - size) < 2 for size in steps)
    for item in list(node.users):
        index: Any = item.args[1]
        bounds = (starts[index],) if node.target is _UNBIND else tuple(starts[index : index + 2])
        for user in list(item.users) if in_loop else [item]:
            with node.graph.inserting_before(user):
                target: Any = SELECT if node.target is _UNBIND else SLICE
                part = node.graph.call_function(target, (whole, axis, *bounds))
            part.meta["val"] = item.meta["val"]
            if in_loop:
                user.replace_input_with(item, part)
            else:
                item.replace_all_uses_with(part)


def _make_from_sizes(node: fx.Node) -> None:
    """Make a tensor that is filled like another one of its sizes alone."""
    graph, value = node.graph, node.meta["val"]
    factory, filled = _ALIKE[node.target]
    sizes: list[Any] = []
    for size in shape_of(node) or ():
        known = size if isinstance(size, int) else _size_node(graph, str(size))
        if known is None:
            return
        sizes.append(known)
    with graph.inserting_before(node):
        fill = (node.args[filled],) if filled is not None else ()
        made = graph.call_function(factory, (sizes, *fill), {"dtype": value.dtype})
    made.meta["val"] = value
    node.replace_all_uses_with(made)


def _size_node(graph: fx.Graph, size: str) -> fx.Node | None:
    """Return the size of an axis of an input, by what torch calls it."""
    for placeholder in graph.find_nodes(op="placeholder"):
        for axis, own in enumerate(shape_of(placeholder) or ()):
            if str(own) == size:
                with graph.inserting_after(placeholder):
                    found = graph.call_function(SYM_SIZE, (placeholder, axis))
                found.meta["val"] = placeholder.meta["val"].shape[axis]
                return found
    return None


def _handed_on(node: fx.Node) -> fx.Node | None:
    """Return the operand that `node` gives unchanged, if it does."""
    place = _HAND_ON.get(node.target)
    if place is None or place >= len(node.args):
        return None
    operand = node.args[place]
    if not isinstance(operand, fx.Node) or shape_of(operand) is None:
        return None
    alike = str(shape_of(operand)) == str(shape_of(node))
    return operand if alike and operand.meta["val"].dtype == node.meta["val"].dtype else None


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
        made = node.op == "call_function" and not _takes_tensors(node)
        made = made and all(operand in found for operand in node.all_input_nodes)
        if node.op == "get_attr" or size or (made and not random):
            found.add(node)
    return found


_CHECKS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")
# what splits a tensor → the place of its axis among the arguments
_PARTS: dict[Any, int] = {
    _UNBIND: 1,
    _ATEN.split.Tensor: 2,
    _ATEN.split_with_sizes.default: 2,
}
# what makes a tensor like another → what makes it from sizes, and the place of what fills it
_ALIKE: dict[Any, tuple[Any, int | None]] = {
    _ATEN.new_zeros.default: (_ATEN.zeros.default, None),
    _ATEN.new_ones.default: (_ATEN.ones.default, None),
    _ATEN.new_full.default: (_ATEN.full.default, 2),
    _ATEN.zeros_like.default: (_ATEN.zeros.default, None),
    _ATEN.ones_like.default: (_ATEN.ones.default, None),
    _ATEN.full_like.default: (_ATEN.full.default, 1),
}
# what may give an operand unchanged → the place of that operand
_HAND_ON: dict[Any, int] = {
    SLICE: 0,
    _ATEN.slice_scatter.default: 1,
    _ATEN.copy.default: 1,
    _ATEN.alias.default: 0,
    _ATEN.detach.default: 0,
    _ATEN.expand.default: 0,
    _ATEN.contiguous.default: 0,
    _ATEN.clone.default: 0,
    _ATEN.lift_fresh_copy.default: 0,
    _ATEN.view.default: 0,
    _ATEN.to.dtype: 0,
}
