"""Brings a forward, operator by operator, into a form in which all iterations of a loop look alike.

Steps are taken from the whole sequence, each in its own iteration. What one iteration writes into
a tensor and the next reads from it goes straight from one to the other. What is joined piece by
piece is joined once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from edgernn.export.ir.recurrent_operators import CELL_FUNCTIONS

__all__ = ["CELLS", "FILLED", "SELECT", "SLICE", "SYM_SIZE", "shape_of", "takes_tensors", "tidy"]

_ATEN = torch.ops.aten
SELECT, SLICE, SYM_SIZE = _ATEN.select.int, _ATEN.slice.Tensor, _ATEN.sym_size.int
FILLED = (_ATEN.zeros.default, _ATEN.ones.default, _ATEN.full.default)
"""What makes tensors of one number."""

_UNBIND, _CAT, _WRITE = _ATEN.unbind.int, _ATEN.cat.default, _ATEN.select_scatter.default
_UNSQUEEZE, _EMPTY = _ATEN.unsqueeze.default, _ATEN.empty.memory_format
CELLS = tuple(getattr(_ATEN, name).default for name in CELL_FUNCTIONS)
"""torch's operators of cells."""


def shape_of(node: fx.Node) -> tuple[Any, ...] | None:
    """Return the sizes of a tensor, numbers and symbols; None for what is no tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(int(size) if is_concrete_int(size) else size for size in value.shape)


def tidy(graph: fx.Graph, steps: Sequence[int]) -> None:
    """Bring operators into a form in which all iterations look alike.

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
        same = _handed_on(node) or _written(node)
        if same is not None:
            node.replace_all_uses_with(same)
        elif node.target is _CAT:
            _join_further(node)
    for node in list(graph.nodes):
        if node.target in CELLS:
            _start_alone(node)
        if node.target is _ATEN.view.default:
            node.target = _ATEN.reshape.default  # a view of what a loop left in another order
        if node.kwargs.get("dtype") is torch.float32 and _defaults_to_float(node):
            node.kwargs = {name: one for name, one in node.kwargs.items() if name != "dtype"}
    graph.eliminate_dead_code()


def _start_alone(cell: fx.Node) -> None:
    """Make the first state of a cell without a batch as the next ones are made.

    nn.LSTMCell and its kin give an axis for one sequence to a state, but make the first with it.
    """
    x, state, weight, *others = cell.args
    assert isinstance(weight, fx.Node)
    calls = [other for other in weight.users if other.target is cell.target]
    if any(_UNSQUEEZE in {one.target for one in call.all_input_nodes[1:]} for call in calls):
        states: Any = state
        single = isinstance(state, fx.Node)
        alone = _alone(cell, state) if single else [_alone(cell, one) for one in states]
        cell.args = (x, alone, weight, *others)


def _alone(cell: fx.Node, state: Any) -> fx.Node:
    """Return a state of one sequence that is made with an axis for it, as one given that axis."""
    shape = shape_of(state)
    if state.target not in FILLED or not shape or shape[0] != 1:
        found: fx.Node = state
        return found
    with cell.graph.inserting_before(cell):
        row = cell.graph.call_function(state.target, (shape[1:], *state.args[1:]), state.kwargs)
        row.meta["val"] = state.meta["val"][0]
        start = cell.graph.call_function(_UNSQUEEZE, (row, 0))
    start.meta["val"] = state.meta["val"]
    return start


def _defaults_to_float(node: fx.Node) -> bool:
    """Return whether an operator that is told no dtype makes a tensor of the default one."""
    filled = node.target is _ATEN.full.default and isinstance(node.args[1], float)
    return filled or node.target in (_ATEN.zeros.default, _ATEN.ones.default, _EMPTY)


def takes_tensors(node: fx.Node) -> bool:
    """Return whether an operator has a tensor among its operands."""
    return any(shape_of(operand) is not None for operand in node.all_input_nodes)


def _take_parts(node: fx.Node, steps: Sequence[int]) -> None:
    """Take each part that `node` splits a tensor into from the whole.

    The steps of a sequence are taken where they are used, each in its own iteration.
    """
    whole: Any = node.args[0]
    place = _PARTS[node.target]
    axis: Any = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
    single = node.target is _UNBIND
    sizes = [1 if single else part.shape[axis] for part in node.meta["val"]]
    if not all(isinstance(size, int) for size in sizes):
        return
    starts = [0, *itertools.accumulate(sizes)]
    in_loop = set(sizes) == {1} and any(abs(len(sizes) - size) < 2 for size in steps)
    for item in list(node.users):
        index: Any = item.args[1]
        start = starts[index]
        target = SELECT if single else SLICE
        taken = (whole, axis, start) if single else (whole, axis, start, starts[index + 1])
        for users in [[user] for user in item.users] if in_loop else [list(item.users)]:
            with node.graph.inserting_before(users[0] if in_loop else item):
                part = node.graph.call_function(target, taken)
            part.meta["val"] = item.meta["val"]
            for user in users:
                user.replace_input_with(item, part)


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


def _written(node: fx.Node) -> fx.Node | None:
    """Return what was written as the part of a tensor that `node` reads, if it can be told."""
    if node.target is not SELECT:
        return None
    read: Any = node.args
    whole, axis, index = _part(read)
    source: Any = whole
    while source.target is _WRITE:
        base: Any
        written: fx.Node
        base, written, *place = source.args
        _, other, written_index = _part((base, *place))
        if axis != other or not isinstance(index, int) or not isinstance(written_index, int):
            break
        if index == written_index:
            return written
        source = base
    if source.target in FILLED and isinstance(index, int):
        index = 0  # any step of it is the same
    node.args = (source, axis, index)
    return None


def _part(arguments: Sequence[Any]) -> tuple[fx.Node, int, Any]:
    """Return a tensor, the axis along which a part of it is, and which; both counted forward."""
    whole, axis, index = arguments
    shape = shape_of(whole) or ()
    axis %= len(shape)
    size = shape[axis]
    return whole, axis, index % size if isinstance(index, int) and isinstance(size, int) else index


def _join_further(node: fx.Node) -> None:
    """Join in one what is put behind or before one another piece by piece."""
    rank = len(shape_of(node) or ())
    tensors: Any = node.args[0]
    pieces: list[Any] = []
    for tensor in tensors:
        own = tensor.target is _CAT and [*tensor.users] == [node]
        if own and _axis_of(tensor) % rank == _axis_of(node) % rank:
            pieces += tensor.args[0]
        elif rank == 1 or shape_of(tensor) != (0,):  # which torch leaves out
            pieces.append(tensor)
    node.args = (pieces, *node.args[1:])


def _axis_of(node: fx.Node) -> int:
    axis: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return int(axis)


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


_CHECKS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")
# what splits a tensor → the place of its axis among the arguments
_PARTS: dict[Any, int] = {
    _UNBIND: 1,
    _ATEN.split.Tensor: 2,
    _ATEN.split_with_sizes.default: 2,
    _ATEN.chunk.default: 2,
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
    _ATEN.slice.Tensor: 0,
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
