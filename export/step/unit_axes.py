"""The removal of moves of size-1 axes.

    before   x (4, 3) → Unsqueeze → (1, 4, 3) → Add → (1, 4, 3) → Squeeze → y (4, 3)
    after    x (4, 3) → Add → y (4, 3)

Every value is followed back through moves to its source: the same elements, other axes of size 1.
Nodes that can work on sources do, by a rule for each operator:

    before   x (4, 1, 3) → Squeeze → (4, 3) → Softmax(axis=1) → (4, 3)
    after    x (4, 1, 3) → Softmax(axis=2) → (4, 1, 3)

A node without a rule needs its inputs in the shapes that it was written for: a single move gives
the source that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.operator_kinds import ELEMENTWISE
from edgernn.export.ir.shapes import Shape, known_shape, shape_of
from edgernn.export.step.unit_axis_moves import (
    add_unit_axis_move,
    is_unit_axis_move,
    non_unit_axes,
    non_unit_sizes,
    reshape_target,
    unit_axis_counts,
)

__all__ = ["remove_unit_axis_moves"]


def remove_unit_axis_moves(model: ir.Model) -> None:
    """Remove, in place, every move of size-1 axes that the graph's nodes can do without.

    Values whose shapes are not known stay as they are, and so does a graph with subgraphs.
    """
    if len(list(model.graphs())) > 1:
        return
    _Rewrite(model.graph).run()
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)


class _NodeRewrite(NamedTuple):
    """A node on sources: its inputs, the shapes of its outputs, and attributes that change."""

    inputs: Sequence[ir.Value | None]
    shapes: Sequence[Shape]
    attributes: dict[str, int]


class _Rewrite:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._sources: dict[ir.Value, ir.Value] = {}
        self._moved: dict[tuple[ir.Value, Shape], ir.Value] = {}
        self._output_names = [value.name for value in graph.outputs]

    def run(self) -> None:
        for node in tuple(self.graph):
            if is_unit_axis_move(node):
                self._sources[node.outputs[0]] = self.source(node.inputs[0])
            elif any(value in self._sources for value in node.inputs):
                if rewrite := self._on_sources(node):
                    self._replace(node, rewrite)
                else:
                    self._restore_inputs(node)
        for index, value in enumerate(tuple(self.graph.outputs)):
            if value in self._sources:
                self._finish(index, value)

    def source(self, value: ir.Value | None) -> ir.Value:
        """Return what `value` is a move of, itself where it is none."""
        assert value is not None
        return self._sources.get(value, value)

    def moved(self, value: ir.Value, shape: Shape, node: ir.Node | None) -> ir.Value:
        """Return the source of `value` in `shape`, with a move before `node` if one is needed."""
        source = self.source(value)
        if shape_of(source) == shape:
            return source
        if (source, shape) not in self._moved:
            name = _take_name(value) if source is not value else None
            self._moved[source, shape] = add_unit_axis_move(self.graph, node, source, shape, name)
        return self._moved[source, shape]

    def _on_sources(self, node: ir.Node) -> _NodeRewrite | None:
        """Return `node` on the sources of its inputs.

        None where it has no rule, none of its rule's layouts fits, or shapes are not known.
        """
        rule = _RULES.get(node.op_type) if node.domain == "" else None
        shapes = [shape_of(value) for value in (*node.inputs, *node.outputs) if value is not None]
        known = all(shape is not None and None not in shape for shape in shapes)
        return rule(node, self) if rule is not None and known else None

    def _restore_inputs(self, node: ir.Node) -> None:
        """Give `node` its inputs in the shapes that it was written for."""
        for index, value in enumerate(node.inputs):
            if value in self._sources:
                node.replace_input_with(index, self.moved(value, known_shape(value), node))

    def _replace(self, node: ir.Node, rewrite: _NodeRewrite) -> None:
        outputs = [
            ir.Value(name=_take_name(value), shape=ir.Shape(shape), type=value.type)
            for value, shape in zip(node.outputs, rewrite.shapes, strict=True)
        ]
        changed = {name: ir.AttrInt64(name, value) for name, value in rewrite.attributes.items()}
        attributes = {**node.attributes, **changed}.values()
        new = ir.Node("", node.op_type, rewrite.inputs, attributes, outputs=outputs, name=node.name)
        self.graph.insert_before(node, new)
        self._sources.update(zip(node.outputs, outputs, strict=True))

    def _finish(self, index: int, output: ir.Value) -> None:
        """Make a value of its own a graph output, in place of a move."""
        value = self.moved(output, known_shape(output), None)
        if value.producer() is None or value in self.graph.outputs:
            copy = NodeBuilder(self.graph).op("Identity", value, name="")
            copy.shape, copy.type = value.shape, value.type
            value = copy
        output.name = None
        value.name = self._output_names[index]
        self.graph.outputs[index] = value


def _take_name(value: ir.Value) -> str | None:
    """Return the name of a value that is about to be replaced, and leave it without one."""
    name, value.name = value.name, None
    return name


def _layouts(values: Sequence[ir.Value | None], sources: _Rewrite) -> Iterator[list[Shape]]:
    """Yield the shapes in which a node could take its inputs: as they are, then without 1s."""
    shapes = [known_shape(sources.source(value)) for value in values]
    yield shapes
    yield [non_unit_sizes(shape) for shape in shapes]


def _elementwise(node: ir.Node, sources: _Rewrite) -> _NodeRewrite | None:
    """Choose a layout in which the same axes of the inputs are aligned as in the node's own."""
    given = [value for value in node.inputs if value is not None]
    wanted = _broadcast([known_shape(value) for value in given])
    for shapes in _layouts(given, sources):
        found = _broadcast(shapes)
        if wanted is not None and found is not None and wanted[1:] == found[1:]:
            moved = iter([sources.moved(*pair, node) for pair in zip(given, shapes, strict=True)])
            return _NodeRewrite([value and next(moved) for value in node.inputs], [found[0]], {})
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
    places = [[place[axis] for axis in non_unit_axes(shape)] for shape in padded]
    return common, non_unit_sizes(common), places


def _along_axis(node: ir.Node, sources: _Rewrite) -> _NodeRewrite | None:
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
        return _NodeRewrite([*moved, *node.inputs[len(data) :]], results, {"axis": place})
    return None


def _place(shape: Shape, axis: int, source: Shape) -> int | None:
    """Return the axis of `source` that is `axis` of `shape`; they differ in axes of size 1."""
    index = len(non_unit_sizes(shape[:axis]))
    if shape[axis] != 1:
        return non_unit_axes(source)[index]
    start = [0, *(place + 1 for place in non_unit_axes(source))][index]
    return start if unit_axis_counts(source)[index] else None


def _product(node: ir.Node, sources: _Rewrite) -> _NodeRewrite | None:
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
        return _NodeRewrite([source, right], [(*known_shape(source)[:-1], weights[1])], {})
    row = rows[0] if rows else 1
    matrix = sources.moved(left, (row, shape[-1]), node)
    return _NodeRewrite([matrix, right], [(row, weights[1])], {})


def _lookup(node: ir.Node, sources: _Rewrite) -> _NodeRewrite | None:
    """Look up the source of the ids, as a vector where at most one of its axes is not 1."""
    table, ids = node.inputs
    if ids is None or constant_of(table) is None or node.attributes.get_int("axis", 0) != 0:
        return None
    wanted = non_unit_sizes(known_shape(ids))
    vector = sources.moved(ids, wanted or (1,), node) if len(wanted) < 2 else sources.source(ids)
    return _NodeRewrite([table, vector], [(*known_shape(vector), *known_shape(table)[1:])], {})


def _without_unit_axes(node: ir.Node, sources: _Rewrite) -> _NodeRewrite | None:
    """Reshape the source to the result without axes of size 1: elements stay in order."""
    wanted = non_unit_sizes(known_shape(node.outputs[0]))
    if sum(isinstance(size, str) for size in wanted) > 1:
        return None
    size = NodeBuilder(sources.graph).constant(f"{node.name}_shape", reshape_target(wanted))
    return _NodeRewrite([sources.source(node.inputs[0]), size], [wanted], {})


_LAST_ONLY = ("LayerNormalization",)
_ALONG_AXIS = ("Concat", "Hardmax", "LogSoftmax", "Softmax", "Split", *_LAST_ONLY)

_RULES: dict[str, Callable[[ir.Node, _Rewrite], _NodeRewrite | None]] = {
    **dict.fromkeys((*ELEMENTWISE, "BitShift"), _elementwise),
    **dict.fromkeys(_ALONG_AXIS, _along_axis),
    "MatMul": _product,
    "Gather": _lookup,
    "Reshape": _without_unit_axes,
}
