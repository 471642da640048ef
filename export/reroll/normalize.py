"""Brings an unrolled forward into a form in which all iterations of a loop have the same operators.

    steps = x.unbind(1)                h = tanh(x.select(1, 0) + h)
    h = tanh(steps[0] + h)             h = tanh(x.select(1, 1) + h)
    out[:, 0] = h; y = out[:, 0]   →   y = h
    a = cat([a, h])                    a = cat([first, second, …])

Steps are taken from the whole sequence, each in its own iteration. What one iteration writes into
a tensor and the next reads from it goes straight from one to the other. What is concatenated piece
by piece is concatenated once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from edgernn.export.reroll.torch_operators import CELLS, FILLED, SELECT, SLICE, SYM_SIZE, shape_of

__all__ = ["normalize"]

_ATEN = torch.ops.aten
_UNBIND, _CAT, _WRITE = _ATEN.unbind.int, _ATEN.cat.default, _ATEN.select_scatter.default
_UNSQUEEZE, _EMPTY = _ATEN.unsqueeze.default, _ATEN.empty.memory_format

_CHECKS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range")

_SPLITS: dict[Any, int] = {
    _UNBIND: 1,
    _ATEN.split.Tensor: 2,
    _ATEN.split_with_sizes.default: 2,
    _ATEN.chunk.default: 2,
}
"""What splits a tensor → the index of its axis among the arguments."""

_FILLED_LIKE: dict[Any, tuple[Any, int | None]] = {
    _ATEN.new_zeros.default: (_ATEN.zeros.default, None),
    _ATEN.new_ones.default: (_ATEN.ones.default, None),
    _ATEN.new_full.default: (_ATEN.full.default, 2),
    _ATEN.zeros_like.default: (_ATEN.zeros.default, None),
    _ATEN.ones_like.default: (_ATEN.ones.default, None),
    _ATEN.full_like.default: (_ATEN.full.default, 1),
}
"""What makes a tensor like another → what makes it from sizes, and the index of its number."""

_UNARY = ["alias", "clone", "contiguous", "detach", "expand", "lift_fresh_copy", "view"]
_MAY_BE_IDENTITY: dict[Any, int] = {
    **{getattr(_ATEN, name).default: 0 for name in _UNARY},
    _ATEN.slice.Tensor: 0,
    _ATEN.to.dtype: 0,
    _ATEN.slice_scatter.default: 1,
    _ATEN.copy.default: 1,
}
"""What may return an operand unchanged → the index of that operand."""


def normalize(graph: fx.Graph, steps: Sequence[int]) -> None:
    """Bring operators into a form in which all iterations have the same ones, in place.

    A tensor made in float32 is then made in the default dtype, as in a copy in float64.

    Args:
        graph: The operators.
        steps: The sizes of the axes that forward may loop over.
    """
    for node in list(graph.nodes):
        if getattr(node.target, "__name__", "").partition(".")[0] in _CHECKS:
            graph.erase_node(node)
        elif node.target in _SPLITS:
            _replace_split(node, steps)
        elif node.target in _FILLED_LIKE:
            _make_from_sizes(node)
    for node in list(graph.nodes):
        same = _unchanged_operand(node) or _written_step(node)
        if same is not None:
            node.replace_all_uses_with(same)
        elif node.target is _CAT:
            _flatten_cat(node)
    for node in list(graph.nodes):
        if node.target in CELLS:
            _unsqueeze_first_state(node)
        if node.target is _ATEN.view.default:
            node.target = _ATEN.reshape.default  # what a loop collects has another layout
        if node.kwargs.get("dtype") is torch.float32 and _defaults_to_float(node):
            node.kwargs = {name: one for name, one in node.kwargs.items() if name != "dtype"}
    graph.eliminate_dead_code()


def _replace_split(node: fx.Node, steps: Sequence[int]) -> None:
    """Take each part that `node` splits a tensor into from the tensor itself.

    The steps of a sequence are taken where they are used, each in its own iteration.
    """
    whole: Any = node.args[0]
    at = _SPLITS[node.target]
    axis: Any = node.args[at] if len(node.args) > at else node.kwargs.get("dim", 0)
    single = node.target is _UNBIND
    sizes = [1 if single else part.shape[axis] for part in node.meta["val"]]
    if not all(isinstance(size, int) for size in sizes):
        return
    starts = [0, *itertools.accumulate(sizes)]
    in_loop = set(sizes) == {1} and any(abs(len(sizes) - size) < 2 for size in steps)
    for item in list(node.users):
        index: Any = item.args[1]
        bounds = starts[index : index + (1 if single else 2)]
        for users in [[user] for user in item.users] if in_loop else [list(item.users)]:
            with node.graph.inserting_before(users[0] if in_loop else item):
                target = SELECT if single else SLICE
                part = node.graph.call_function(target, (whole, axis, *bounds))
            part.meta["val"] = item.meta["val"]
            for user in users:
                user.replace_input_with(item, part)


def _make_from_sizes(node: fx.Node) -> None:
    """Make a tensor that is filled like another one from its sizes only."""
    graph, value = node.graph, node.meta["val"]
    factory, number = _FILLED_LIKE[node.target]
    sizes: list[Any] = []
    for size in shape_of(node) or ():
        known = size if isinstance(size, int) else _size_node(graph, str(size))
        if known is None:
            return
        sizes.append(known)
    with graph.inserting_before(node):
        fill = (node.args[number],) if number is not None else ()
        made = graph.call_function(factory, (sizes, *fill), {"dtype": value.dtype})
    made.meta["val"] = value
    node.replace_all_uses_with(made)


def _size_node(graph: fx.Graph, size: str) -> fx.Node | None:
    """Return the size of an axis of an input, by torch's name for it."""
    for placeholder in graph.find_nodes(op="placeholder"):
        for axis, own in enumerate(shape_of(placeholder) or ()):
            if str(own) == size:
                with graph.inserting_after(placeholder):
                    found = graph.call_function(SYM_SIZE, (placeholder, axis))
                found.meta["val"] = placeholder.meta["val"].shape[axis]
                return found
    return None


def _unchanged_operand(node: fx.Node) -> fx.Node | None:
    """Return the operand that `node` returns unchanged, if it does."""
    index = _MAY_BE_IDENTITY.get(node.target)
    if index is None or index >= len(node.args):
        return None
    operand = node.args[index]
    if not isinstance(operand, fx.Node) or shape_of(operand) is None:
        return None
    same = str(shape_of(operand)) == str(shape_of(node))
    return operand if same and operand.meta["val"].dtype == node.meta["val"].dtype else None


def _written_step(node: fx.Node) -> fx.Node | None:
    """Return what was written as the step of a tensor that `node` reads, if it is known."""
    if node.target is not SELECT:
        return None
    source: Any
    source, *step = node.args
    axis, index = _counted_forward(source, *step)
    while source.target is _WRITE:
        base, written, *step = source.args
        other, at = _counted_forward(base, *step)
        if axis != other or not isinstance(index, int) or not isinstance(at, int):
            break
        if index == at:
            found: fx.Node = written
            return found
        source = base
    if source.target in FILLED and isinstance(index, int):
        index = 0  # all steps of it are the same
    node.args = (source, axis, index)
    return None


def _counted_forward(tensor: fx.Node, axis: Any, index: Any) -> tuple[int, Any]:
    """Return the axis and the index of a step of a tensor, counted from the front."""
    shape = shape_of(tensor) or ()
    axis %= len(shape)
    size = shape[axis]
    return axis, index % size if isinstance(index, int) and isinstance(size, int) else index


def _flatten_cat(node: fx.Node) -> None:
    """Concatenate at once what is concatenated piece by piece."""
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


def _unsqueeze_first_state(cell: fx.Node) -> None:
    """Make the first state of a cell without a batch as the next ones are made.

    nn.LSTMCell and the other cells add an axis to a state without a batch, but make the first
    state with it.
    """
    x, states, weight, *others = cell.args
    assert isinstance(weight, fx.Node)
    calls = [other for other in weight.users if other.target is cell.target]
    if any(_UNSQUEEZE in {one.target for one in call.all_input_nodes[1:]} for call in calls):
        unsqueezed = fx.map_arg(states, lambda state: _unsqueezed(cell, state))
        cell.args = (x, unsqueezed, weight, *others)


def _unsqueezed(cell: fx.Node, state: fx.Node) -> fx.Node:
    """Return a filled state of one sequence as one without a batch that is given the axis."""
    shape = shape_of(state)
    if state.target not in FILLED or not shape or shape[0] != 1:
        return state
    with cell.graph.inserting_before(cell):
        row = cell.graph.call_function(state.target, (shape[1:], *state.args[1:]), state.kwargs)
        row.meta["val"] = state.meta["val"][0]
        start = cell.graph.call_function(_UNSQUEEZE, (row, 0))
    start.meta["val"] = state.meta["val"]
    return start


def _defaults_to_float(node: fx.Node) -> bool:
    """Return whether an operator makes a tensor of the default dtype where none is given."""
    filled = node.target is _ATEN.full.default and isinstance(node.args[1], float)
    return filled or node.target in (_ATEN.zeros.default, _ATEN.ones.default, _EMPTY)
