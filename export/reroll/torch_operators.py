"""Operators of torch in an exported graph, and what their nodes tell."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils import _pytree as pytree

from edgernn.export.ir.recurrent_operators import CELL_FUNCTIONS

__all__ = ["CELLS", "FILLED", "SELECT", "SLICE", "SYM_SIZE", "operands_of", "shape_of"]

_ATEN = torch.ops.aten
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
