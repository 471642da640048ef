"""Operators of torch in an exported graph: what their nodes tell, and those on steps of tensors."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import sympy
import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils import _pytree as pytree

from edgernn.export.ir.recurrent_operators import CELL_FUNCTIONS
from edgernn.export.reroll.loop_structure import InductionVariable

__all__ = [
    "CELLS",
    "FILLED",
    "SELECT",
    "SLICE",
    "SYM_SIZE",
    "StepOperators",
    "operands_of",
    "shape_of",
    "write_size",
]

_ATEN = torch.ops.aten
_END = (1 << 63) - 1
SELECT, SLICE, SYM_SIZE = _ATEN.select.int, _ATEN.slice.Tensor, _ATEN.sym_size.int
FILLED = (_ATEN.zeros.default, _ATEN.ones.default, _ATEN.full.default)
"""Operators that make a tensor filled with one number."""

CELLS = tuple(getattr(_ATEN, name).default for name in CELL_FUNCTIONS)
"""Operators of recurrent cells."""


def shape_of(node: fx.Node) -> tuple[Any, ...] | None:
    """Return the sizes of a tensor, integers and symbols; None for what is not a tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None
    return tuple(int(size) if is_concrete_int(size) else size for size in value.shape)


def operands_of(node: fx.Node) -> list[Any]:
    """Return the leaves of the arguments of an operator, in order."""
    return pytree.tree_leaves((node.args, node.kwargs))


class StepOperators:
    """Writes operators on steps into a graph, which has the size of each axis by its name."""

    def __init__(self, graph: fx.Graph, axes: Mapping[str, fx.Node]) -> None:
        self._graph = graph
        self._axes = axes

    def size(self, size: sympy.Expr) -> Any:
        """Return a size as an argument of a node."""
        return write_size(self._graph, size, self._axes)

    def count(self, numbers: InductionVariable, count: sympy.Expr) -> fx.Node:
        """Return an integer for each of `count` iterations: (count,) int64."""
        call = self._graph.call_function
        found = call(_ATEN.arange.default, (self.size(count),), {"dtype": torch.int64})
        if numbers.stride != 1:
            found = call(_ATEN.mul.Tensor, (found, numbers.stride))
        if numbers.first == 0:
            return found
        return call(_ATEN.add.Tensor, (found, self.size(sympy.sympify(numbers.first))))

    def slice(
        self,
        tensor: fx.Node,
        axis: int,
        first: sympy.Expr,
        count: sympy.Expr,
        total: sympy.Expr | None,
        stride: int = 1,
    ) -> fx.Node:
        """Return `count` of the `total` steps of an axis, from `first` on, `stride` apart."""
        if first == 0 and total == count:
            return tensor
        end = first + (count - 1) * stride + 1
        bounds = (axis, self.size(first), self.size(end), *([stride] if stride > 1 else []))
        return self._graph.call_function(SLICE, (tensor, *bounds))

    def select(self, tensor: fx.Node, index: sympy.Expr | int) -> fx.Node:
        """Return one of the first axis: (steps, …) → (…)."""
        at = self.size(index) if isinstance(index, sympy.Expr) else index
        return self._graph.call_function(SELECT, (tensor, 0, at))

    def reverse(self, tensor: fx.Node, axis: int) -> fx.Node:
        """Return a tensor with the steps of an axis in reverse."""
        return self._graph.call_function(_ATEN.flip.default, (tensor, [axis]))

    def move_first_axis(self, tensor: fx.Node, axis: int, flatten: bool) -> fx.Node:
        """Move the first axis to `axis`, joined with the one there if `flatten`."""
        if axis:
            tensor = self._graph.call_function(_ATEN.movedim.int, (tensor, 0, axis))
        if flatten:
            ends = (axis, axis + 1)
            tensor = self._graph.call_function(_ATEN.flatten.using_ints, (tensor, *ends))
        return tensor

    def concatenate(self, parts: list[fx.Node], axis: int) -> fx.Node:
        """Return tensors one after the other."""
        if len(parts) == 1:
            return parts[0]
        return self._graph.call_function(_ATEN.cat.default, (parts, axis))

    def overwrite(
        self, tensor: fx.Node, axis: int, first: sympy.Expr, part: fx.Node, end: sympy.Expr
    ) -> fx.Node:
        """Return `tensor` with the steps of an axis from `first` to `end` replaced by `part`."""
        call = self._graph.call_function
        head = call(SLICE, (tensor, axis, 0, self.size(first)))
        tail = call(SLICE, (tensor, axis, self.size(end), _END))
        return self.concatenate([head, part, tail], axis)


def write_size(graph: fx.Graph, size: sympy.Expr, axes: Mapping[str, fx.Node]) -> Any:
    """Return a linear expression of axes, whose sizes are nodes, as an argument of a node."""
    slopes = size.as_coefficients_dict()
    total: Any = int(slopes[sympy.S.One])
    for name, axis in axes.items():
        if slope := int(slopes[sympy.Symbol(name)]):
            term = axis if slope == 1 else graph.call_function(operator.mul, (axis, slope))
            total = term if total == 0 else graph.call_function(operator.add, (term, total))
    return total
