"""How nodes are written on values without their moves of size-1 axes: a rule for each operator.

The source of a value is what it is a move of: the same elements, other axes of size 1.

    before   x (4, 1, 3) → Squeeze → (4, 3) → Softmax(axis=1) → (4, 3)
    after    x (4, 1, 3) → Softmax(axis=2) → (4, 1, 3)

A node without a rule needs its inputs in the shapes that it was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import onnx_ir as ir

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.operator_kinds import ELEMENTWISE
from edgernn.export.ir.shapes import Shape, known_shape, shape_of
from edgernn.export.step.unit_axis_moves import (
    non_unit_axes,
    non_unit_sizes,
    reshape_target,
    unit_axis_counts,
)

__all__ = ["NodeRewrite", "rewrite_on_sources"]


class SourceValues(Protocol):
    """The sources of values."""

    graph: ir.Graph

    def source(self, value: ir.Value | None) -> ir.Value:
        """Return the source of `value`, itself where it is no move."""
        ...

    def moved(self, value: ir.Value, shape: Shape, node: ir.Node | None) -> ir.Value:
        """Return the source of `value` in `shape`, with a move before `node` if one is needed."""
        ...


class NodeRewrite(NamedTuple):
    """A node that works on sources.

    Attributes:
        inputs: Its inputs.
        shapes: The shapes of its outputs.
        attributes: The attributes that are changed.
    """

    inputs: Sequence[ir.Value | None]
    shapes: Sequence[Shape]
    attributes: dict[str, int]


def rewrite_on_sources(node: ir.Node, sources: SourceValues) -> NodeRewrite | None:
    """Return `node` on the sources of its inputs.

    None where it has no rule, none of its rule's layouts fits, or shapes are not known.
    """
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    shapes = [shape_of(value) for value in (*node.inputs, *node.outputs) if value is not None]
    if rule is None or any(shape is None or None in shape for shape in shapes):
        return None
    return rule(node, sources)


def _layouts(values: Sequence[ir.Value | None], sources: SourceValues) -> Iterator[list[Shape]]:
    """Yield the shapes in which a node could take its inputs: as they are, then without 1s."""
    shapes = [known_shape(sources.source(value)) for value in values]
    yield shapes
    yield [non_unit_sizes(shape) for shape in shapes]


def _elementwise(node: ir.Node, sources: SourceValues) -> NodeRewrite | None:
    """Choose a layout in which the same axes of the inputs are aligned as in the node's own."""
    given = [value for value in node.inputs if value is not None]
    wanted = _broadcast([known_shape(value) for value in given])
    for shapes in _layouts(given, sources):
        found = _broadcast(shapes)
        if wanted is not None and found is not None and wanted[1:] == found[1:]:
            moved = iter([sources.moved(*pair, node) for pair in zip(given, shapes, strict=True)])
            return NodeRewrite([value and next(moved) for value in node.inputs], [found[0]], {})
    return None


def _broadcast(shapes: Sequence[Shape]) -> tuple[Shape, Shape, list[list[int]]] | None:
    """Broadcast `shapes`.

    Returns:
        The common shape, its sizes other than 1, and for each shape the places of its axes among
        these; None where sizes differ, as two symbols do.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = [set(column) - {1} for column in zip(*padded, strict=True)]
    if any(len(size) > 1 for size in sizes):
        return None
    common = tuple(next(iter(size), 1) for size in sizes)
    place = {axis: index for index, axis in enumerate(non_unit_axes(common))}
    return (
        common,
        non_unit_sizes(common),
        [[place[a] for a in non_unit_axes(shape)] for shape in padded],
    )


def _along_axis(node: ir.Node, sources: SourceValues) -> NodeRewrite | None:
    """Choose a layout of all data inputs in which the node's `axis` is the same axis in each."""
    data = [v for v in node.inputs[: None if node.op_type == "Concat" else 1] if v is not None]
    own = [known_shape(value) for value in data]
    axis = node.attributes.get_int("axis", -1) % len(own[0])
    for shapes in _layouts(data, sources):
        places = {_place(o, axis, shape) for o, shape in zip(own, shapes, strict=True)}
        place = next(iter(places))
        if place is None or len(places) > 1:
            continue
        around = {(shape[:place], shape[place + 1 :]) for shape in shapes}
        if len(around) > 1 or (node.op_type in _LAST_ONLY and place + 1 < len(shapes[0])):
            continue
        ((left, right),) = around
        results = [(*left, known_shape(value)[axis], *right) for value in node.outputs]
        moved = [sources.moved(*pair, node) for pair in zip(data, shapes, strict=True)]
        return NodeRewrite([*moved, *node.inputs[len(data) :]], results, {"axis": place})
    return None


def _place(shape: Shape, axis: int, source: Shape) -> int | None:
    """Return the axis of `source` that is `axis` of `shape`; they differ in axes of size 1."""
    index = len(non_unit_sizes(shape[:axis]))
    if shape[axis] != 1:
        return non_unit_axes(source)[index]
    start = [0, *(place + 1 for place in non_unit_axes(source))][index]
    return start if unit_axis_counts(source)[index] else None


def _product(node: ir.Node, sources: SourceValues) -> NodeRewrite | None:
    """Multiply a matrix, where the left operand has at most one axis that is not 1, and the last.

    Of more axes the source is multiplied, where its last axis is the one that is summed.
    """
    left, right = node.inputs
    shape, weights = known_shape(left), known_shape(right)
    if left is None or constant_of(right) is None or len(weights) != 2 or len(shape) < 2:
        return None
    rows = non_unit_sizes(shape[:-1])
    if len(rows) > 1:
        source = sources.source(left)
        if known_shape(source)[-1] != shape[-1]:
            return None
        return NodeRewrite([source, right], [(*known_shape(source)[:-1], weights[1])], {})
    row = rows[0] if rows else 1
    matrix = sources.moved(left, (row, shape[-1]), node)
    return NodeRewrite([matrix, right], [(row, weights[1])], {})


def _lookup(node: ir.Node, sources: SourceValues) -> NodeRewrite | None:
    """Look up the source of the ids, as a vector where at most one of its axes is not 1."""
    table, ids = node.inputs
    if ids is None or constant_of(table) is None or node.attributes.get_int("axis", 0) != 0:
        return None
    wanted = non_unit_sizes(known_shape(ids))
    vector = sources.moved(ids, wanted or (1,), node) if len(wanted) < 2 else sources.source(ids)
    return NodeRewrite([table, vector], [(*known_shape(vector), *known_shape(table)[1:])], {})


def _without_unit_axes(node: ir.Node, sources: SourceValues) -> NodeRewrite | None:
    """Reshape the source to the result without axes of size 1: elements stay in order."""
    wanted = non_unit_sizes(known_shape(node.outputs[0]))
    if sum(isinstance(size, str) for size in wanted) > 1:
        return None
    size = NodeBuilder(sources.graph).constant(f"{node.name}_shape", reshape_target(wanted))
    return NodeRewrite([sources.source(node.inputs[0]), size], [wanted], {})


_LAST_ONLY = ("LayerNormalization",)
_ALONG_AXIS = ("Concat", "Hardmax", "LogSoftmax", "Softmax", "Split", *_LAST_ONLY)

_RULES: dict[str, Callable[[ir.Node, SourceValues], NodeRewrite | None]] = {
    **dict.fromkeys((*ELEMENTWISE, "BitShift"), _elementwise),
    **dict.fromkeys(_ALONG_AXIS, _along_axis),
    "MatMul": _product,
    "Gather": _lookup,
    "Reshape": _without_unit_axes,
}
