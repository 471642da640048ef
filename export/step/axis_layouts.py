"""How nodes work on values whose size-1 axes were moved: one rule for each kind of operator.

A node that is not in the table needs its inputs in the shapes that it was written for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import onnx_ir as ir

from edgernn.export.ir.elementwise_operators import ELEMENTWISE
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.shapes import Shape, known_shape, shape_of
from edgernn.export.step.unit_axis_moves import core, core_axes, gaps, reshape_target

__all__ = ["Plan", "plan_of"]


class Sources(Protocol):
    """Values as they are but for their size-1 axes."""

    graph: ir.Graph

    def source(self, value: ir.Value | None) -> ir.Value:
        """Return what `value` is but for its size-1 axes."""
        ...

    def moved(self, value: ir.Value, shape: Shape, node: ir.Node | None) -> ir.Value:
        """Return the source of `value` in `shape`, by a move before `node` where it needs one."""
        ...


class Plan(NamedTuple):
    """How a node works on sources: its inputs, the shapes that come out, changed attributes."""

    inputs: Sequence[ir.Value | None]
    shapes: Sequence[Shape]
    attributes: dict[str, int]


def plan_of(node: ir.Node, sources: Sources) -> Plan | None:
    """Return how `node` works on sources, or None where it cannot or shapes are not known."""
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    shapes = [shape_of(value) for value in (*node.inputs, *node.outputs) if value is not None]
    if rule is None or any(shape is None or None in shape for shape in shapes):
        return None
    return rule(node, sources)


def _layouts(values: Sequence[ir.Value | None], sources: Sources) -> Iterator[list[Shape]]:
    """Return shapes that a node could take its inputs in: as they are, or all without unit axes."""
    shapes = [known_shape(sources.source(value)) for value in values]
    yield shapes
    yield [core(shape) for shape in shapes]


def _elementwise(node: ir.Node, sources: Sources) -> Plan | None:
    """Work in a layout in which the inputs' axes meet as they do in the node's own."""
    given = [value for value in node.inputs if value is not None]
    wanted = _meet([known_shape(value) for value in given])
    for shapes in _layouts(given, sources):
        found = _meet(shapes)
        if wanted is not None and found is not None and wanted[1:] == found[1:]:
            moved = iter([sources.moved(*pair, node) for pair in zip(given, shapes, strict=True)])
            return Plan([value and next(moved) for value in node.inputs], [found[0]], {})
    return None


def _meet(shapes: Sequence[Shape]) -> tuple[Shape, Shape, list[list[int]]] | None:
    """Broadcast `shapes`.

    Returns:
        The common shape, its core, and for each shape which core axes its own stand for; None
        where the sizes alone do not tell.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = [set(column) - {1} for column in zip(*padded, strict=True)]
    if any(len(size) > 1 for size in sizes):
        return None
    common = tuple(next(iter(size), 1) for size in sizes)
    place = {axis: index for index, axis in enumerate(core_axes(common))}
    return common, core(common), [[place[a] for a in core_axes(shape)] for shape in padded]


def _along_axis(node: ir.Node, sources: Sources) -> Plan | None:
    """Work along the axis that stands for the node's `axis`, in one layout of all data inputs."""
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
        return Plan([*moved, *node.inputs[len(data) :]], results, {"axis": place})
    return None


def _place(shape: Shape, axis: int, source: Shape) -> int | None:
    """Return the axis of `source` that stands for `axis` of `shape`, of the same core."""
    index = len(core(shape[:axis]))
    if shape[axis] != 1:
        return core_axes(source)[index]
    start = [0, *(place + 1 for place in core_axes(source))][index]
    return start if gaps(source)[index] else None


def _product(node: ir.Node, sources: Sources) -> Plan | None:
    """Multiply a matrix where the left operand is one, at most one core axis and the last."""
    left, right = node.inputs
    shape, weights = known_shape(left), known_shape(right)
    if left is None or constant_of(right) is None or len(weights) != 2 or len(shape) < 2:
        return None
    rows = core(shape[:-1])
    if len(rows) > 1:
        source = sources.source(left)
        if known_shape(source)[-1] != shape[-1]:
            return None
        return Plan([source, right], [(*known_shape(source)[:-1], weights[1])], {})
    row = rows[0] if rows else 1
    matrix = sources.moved(left, (row, shape[-1]), node)
    return Plan([matrix, right], [(row, weights[1])], {})


def _rows_of_table(node: ir.Node, sources: Sources) -> Plan | None:
    """Look up the source of the ids, at most one core axis as a vector."""
    table, ids = node.inputs
    if ids is None or constant_of(table) is None or node.attributes.get_int("axis", 0) != 0:
        return None
    wanted = core(known_shape(ids))
    vector = sources.moved(ids, wanted or (1,), node) if len(wanted) < 2 else sources.source(ids)
    return Plan([table, vector], [(*known_shape(vector), *known_shape(table)[1:])], {})


def _to_core(node: ir.Node, sources: Sources) -> Plan | None:
    """Reshape the source to the core of the result: elements stay in order."""
    wanted = core(known_shape(node.outputs[0]))
    if sum(isinstance(size, str) for size in wanted) > 1:
        return None
    size = NodeBuilder(sources.graph).constant(f"{node.name}_shape", reshape_target(wanted))
    return Plan([sources.source(node.inputs[0]), size], [wanted], {})


_LAST_ONLY = ("LayerNormalization",)
_ALONG_AXIS = ("Concat", "Hardmax", "LogSoftmax", "Softmax", "Split", *_LAST_ONLY)

_RULES: dict[str, Callable[[ir.Node, Sources], Plan | None]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(_ALONG_AXIS, _along_axis),
    "MatMul": _product,
    "Gather": _rows_of_table,
    "Reshape": _to_core,
}
