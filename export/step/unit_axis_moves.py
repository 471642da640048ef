"""Moves of size-1 axes: what they are, and the cheapest one between two shapes.

A move is a node whose output is its input with axes of size 1 put elsewhere, added or dropped;
the other axes, its *core*, stay in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.movement_operators import Movement, operators_of
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.shapes import Shape, known_shape, shape_of

__all__ = ["core", "core_axes", "emit_move", "gaps", "is_move", "reshape_target"]


def core(shape: Shape) -> Shape:
    """Return the sizes of `shape` other than 1."""
    return tuple(size for size in shape if size != 1)


def core_axes(shape: Shape) -> list[int]:
    """Return the axes of `shape` whose size is not 1."""
    return [axis for axis, size in enumerate(shape) if size != 1]


def is_move(node: ir.Node) -> bool:
    """Return whether `node` moves size-1 axes of a value of known shape and does nothing else."""
    test = _MOVES.get(node.op_type) if node.domain == "" else None
    if test is None or len(node.outputs) != 1:
        return False
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if before is None or after is None or None in before or None in after:
        return False
    return core(before) == core(after) and test(node, before)


def _always(node: ir.Node, before: Shape) -> bool:
    return True


def _keeps_order(node: ir.Node, before: Shape) -> bool:
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(before)))))
    kept = [axis for axis in perm if before[axis] != 1]
    return kept == sorted(kept)


def _takes_the_only_one(node: ir.Node, before: Shape) -> bool:
    index = constant_of(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    return before[axis] == 1 and index is not None and index.size == 1


def _slices_unit_axes(node: ir.Node, before: Shape) -> bool:
    axes = constant_of(node.inputs[3]) if len(node.inputs) > 3 else np.arange(len(before))
    return axes is not None and all(before[axis] == 1 for axis in axes)


_MOVES: dict[str, Callable[[ir.Node, Shape], bool]] = {
    **dict.fromkeys(operators_of(Movement.RESHAPES, Movement.REPEATS), _always),
    "Transpose": _keeps_order,
    "Gather": _takes_the_only_one,
    "Slice": _slices_unit_axes,
}


def emit_move(
    graph: ir.Graph, node: ir.Node | None, source: ir.Value, shape: Shape, name: str | None
) -> ir.Value:
    """Add the cheapest node that gives `source` another shape of the same core."""
    before = known_shape(source)
    gains = [new - old for old, new in zip(gaps(before), gaps(shape), strict=True)]
    if all(gain >= 0 for gain in gains):
        op_type, detail, how = "Unsqueeze", "axes", _surplus_axes(shape, gains)
    elif all(gain <= 0 for gain in gains):
        op_type, detail, how = "Squeeze", "axes", _surplus_axes(before, [-gain for gain in gains])
    elif sum(isinstance(size, str) for size in shape) <= 1:
        op_type, detail, how = "Reshape", "shape", reshape_target(shape)
    else:
        source = emit_move(graph, node, source, core(before), None)
        return emit_move(graph, node, source, shape, name)
    name = name or f"{source.name}_{op_type.lower()}d"
    builder = NodeBuilder(graph, node)
    value = builder.op(op_type, source, builder.constant(f"{name}_{detail}", how), name=name)
    value.shape, value.type = ir.Shape(shape), source.type
    return value


def gaps(shape: Shape) -> list[int]:
    """Count the size-1 axes in front of each core axis, and behind the last."""
    bounds = [-1, *core_axes(shape), len(shape)]
    return [right - left - 1 for left, right in pairwise(bounds)]


def _surplus_axes(shape: Shape, surplus: Sequence[int]) -> NDArray[np.int64]:
    """Return the first `surplus` size-1 axes of each gap of `shape`."""
    starts = [0, *(axis + 1 for axis in core_axes(shape))]
    axes = [start + i for start, count in zip(starts, surplus, strict=True) for i in range(count)]
    return np.array(axes, np.int64)


def reshape_target(shape: Shape) -> NDArray[np.int64]:
    """Return the size that a Reshape to `shape` is given: -1 for a symbol."""
    return np.array([size if isinstance(size, int) else -1 for size in shape], np.int64)
