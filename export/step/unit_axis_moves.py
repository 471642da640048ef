"""Moves of size-1 axes: what they are, and the cheapest one between two shapes.

A move is a node that adds, removes or reorders axes of size 1 and nothing else:

    Unsqueeze    (4, 3)    → (4, 1, 3)
    Transpose    (4, 1, 3) → (1, 4, 3)    the axes other than 1 stay in order
    Reshape      (4, 1, 3) → (4, 3, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.operator_kinds import Movement, operators_of
from edgernn.export.ir.shapes import Shape, known_shape, shape_of

__all__ = [
    "add_unit_axis_move",
    "is_unit_axis_move",
    "non_unit_axes",
    "non_unit_sizes",
    "reshape_target",
    "unit_axis_counts",
]


def non_unit_sizes(shape: Shape) -> Shape:
    """Return the sizes of `shape` other than 1."""
    return tuple(size for size in shape if size != 1)


def non_unit_axes(shape: Shape) -> list[int]:
    """Return the axes of `shape` whose size is not 1."""
    return [axis for axis, size in enumerate(shape) if size != 1]


def is_unit_axis_move(node: ir.Node) -> bool:
    """Return whether `node` moves axes of size 1 of a value of known shape, and nothing else."""
    test = _MOVES.get(node.op_type) if node.domain == "" else None
    if test is None or len(node.outputs) != 1:
        return False
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if before is None or after is None or None in before or None in after:
        return False
    return non_unit_sizes(before) == non_unit_sizes(after) and test(node, before)


def _transposes_unit_axes(node: ir.Node, before: Shape) -> bool:
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(before)))))
    kept = [axis for axis in perm if before[axis] != 1]
    return kept == sorted(kept)


def _takes_single_element(node: ir.Node, before: Shape) -> bool:
    index = constant_of(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    return before[axis] == 1 and index is not None and index.size == 1


def _slices_unit_axes(node: ir.Node, before: Shape) -> bool:
    axes = constant_of(node.inputs[3]) if len(node.inputs) > 3 else np.arange(len(before))
    return axes is not None and all(before[axis] == 1 for axis in axes)


_MOVES: dict[str, Callable[[ir.Node, Shape], bool]] = {
    **dict.fromkeys(operators_of(Movement.RESHAPES, Movement.REPEATS), lambda node, before: True),
    "Transpose": _transposes_unit_axes,
    "Gather": _takes_single_element,
    "Slice": _slices_unit_axes,
}


def add_unit_axis_move(
    graph: ir.Graph, node: ir.Node | None, source: ir.Value, shape: Shape, name: str | None
) -> ir.Value:
    """Add the cheapest node that gives `source` another `shape`, with other axes of size 1.

    It stands in front of `node`, or at the end of the graph. Without a `name` its output, which is
    returned, has one made of the source's.
    """
    before = known_shape(source)
    counts = zip(unit_axis_counts(before), unit_axis_counts(shape), strict=True)
    gains = [new - old for old, new in counts]
    if all(gain >= 0 for gain in gains):
        op_type, detail, how = "Unsqueeze", "axes", _surplus_axes(shape, gains)
    elif all(gain <= 0 for gain in gains):
        op_type, detail, how = "Squeeze", "axes", _surplus_axes(before, [-gain for gain in gains])
    elif sum(isinstance(size, str) for size in shape) <= 1:
        op_type, detail, how = "Reshape", "shape", reshape_target(shape)
    else:
        source = add_unit_axis_move(graph, node, source, non_unit_sizes(before), None)
        return add_unit_axis_move(graph, node, source, shape, name)
    name = name or f"{source.name}_{op_type.lower()}d"
    builder = NodeBuilder(graph, node)
    value = builder.op(op_type, source, builder.constant(f"{name}_{detail}", how), name=name)
    value.shape, value.type = ir.Shape(shape), source.type
    return value


def unit_axis_counts(shape: Shape) -> list[int]:
    """Return the number of size-1 axes before each axis that is not 1, and after the last."""
    bounds = [-1, *non_unit_axes(shape), len(shape)]
    return [right - left - 1 for left, right in pairwise(bounds)]


def _surplus_axes(shape: Shape, surplus: Sequence[int]) -> NDArray[np.int64]:
    """Return the first so many size-1 axes of `shape` before each axis that is not 1."""
    starts = [0, *(axis + 1 for axis in non_unit_axes(shape))]
    axes = [start + i for start, count in zip(starts, surplus, strict=True) for i in range(count)]
    return np.array(axes, np.int64)


def reshape_target(shape: Shape) -> NDArray[np.int64]:
    """Return the shape operand of a Reshape to `shape`: -1 for a symbol."""
    return np.array([size if isinstance(size, int) else -1 for size in shape], np.int64)
