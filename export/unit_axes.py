"""Moves of size-1 axes, and their removal.

A move is a node whose output is its input with axes of size 1 put elsewhere, added or dropped;
the other axes, the *core*, stay in order. Every value is followed back through moves to its
*source*. Nodes that can work on sources do; where one cannot, a single move brings the source into
the shape that it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from edgernn.export.shapes import Shape, dims, known
from edgernn.export.wiring import Wiring, constant_of

__all__ = ["remove_unit_axis_moves"]

_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def remove_unit_axis_moves(model: ir.Model) -> None:
    """Remove, in place, every move of size-1 axes that the graph's nodes can do without.

    Values whose shapes are not known stay as they are, and so does a graph with subgraphs.
    """
    if any(attr.type in _SUBGRAPHS for node in model.graph for attr in node.attributes.values()):
        return
    _Rewrite(model.graph).run()
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)


class _Plan(NamedTuple):
    """How a node works on sources: its inputs, the shapes that come out, changed attributes."""

    inputs: Sequence[ir.Value | None]
    shapes: Sequence[Shape]
    attributes: dict[str, int]


class _Rewrite:
    """One pass over one graph, in the order of its nodes."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._sources: dict[ir.Value, ir.Value] = {}
        self._moved: dict[tuple[ir.Value, Shape], ir.Value] = {}
        self._output_names = [value.name for value in graph.outputs]

    def run(self) -> None:
        for node in tuple(self.graph):
            if _is_move(node):
                self._sources[node.outputs[0]] = self.source(node.inputs[0])
            elif any(value in self._sources for value in node.inputs):
                plan = _plan(node, self)
                if plan is None:
                    self._restore_inputs(node)
                else:
                    self._replace(node, plan)
        for index, value in enumerate(tuple(self.graph.outputs)):
            if value in self._sources:
                self._finish(index, value)

    def source(self, value: ir.Value | None) -> ir.Value:
        """Return what `value` is but for its size-1 axes."""
        assert value is not None
        return self._sources.get(value, value)

    def moved(self, value: ir.Value, shape: Shape, node: ir.Node | None) -> ir.Value:
        """Return the source of `value` in `shape`, by a move before `node` where it needs one."""
        source = self.source(value)
        if dims(source) == shape:
            return source
        if (source, shape) not in self._moved:
            name = _take_name(value) if source is not value else None
            self._moved[source, shape] = _emit_move(self.graph, node, source, shape, name)
        return self._moved[source, shape]

    def _restore_inputs(self, node: ir.Node) -> None:
        """Give `node`, which knows nothing of sources, its inputs in the shapes it expects."""
        for index, value in enumerate(node.inputs):
            if value in self._sources:
                node.replace_input_with(index, self.moved(value, known(value), node))

    def _replace(self, node: ir.Node, plan: _Plan) -> None:
        outputs = [
            ir.Value(name=_take_name(value), shape=ir.Shape(shape), type=value.type)
            for value, shape in zip(node.outputs, plan.shapes, strict=True)
        ]
        attributes = dict(node.attributes)
        attributes |= {name: ir.AttrInt64(name, value) for name, value in plan.attributes.items()}
        new = ir.Node(
            "",
            node.op_type,
            plan.inputs,
            tuple(attributes.values()),
            outputs=outputs,
            name=node.name,
        )
        self.graph.insert_before(node, new)
        self._sources.update(zip(node.outputs, outputs, strict=True))

    def _finish(self, index: int, output: ir.Value) -> None:
        """Put a value of its own in the place of a moved graph output."""
        value = self.moved(output, known(output), None)
        if value.producer() is None or value in self.graph.outputs:
            shape, type_ = value.shape, value.type
            value = Wiring(self.graph).op("Identity", value, name="")
            value.shape, value.type = shape, type_
        output.name = None
        value.name = self._output_names[index]
        self.graph.outputs[index] = value


def _take_name(value: ir.Value) -> str | None:
    """Return the name of a value that is about to be replaced, and leave it without one."""
    name, value.name = value.name, None
    return name


# --- what a move is -----------------------------------------------------------------------------


def _core(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _core_axes(shape: Shape) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size != 1]


def _is_move(node: ir.Node) -> bool:
    test = _MOVES.get(node.op_type) if node.domain == "" else None
    if test is None or len(node.outputs) != 1:
        return False
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if before is None or after is None or None in before or None in after:
        return False
    return _core(before) == _core(after) and test(node, before)


def _always(node: ir.Node, before: Shape) -> bool:
    return True


def _keeps_order(node: ir.Node, before: Shape) -> bool:
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(before)))))
    core = [axis for axis in perm if before[axis] != 1]
    return core == sorted(core)


def _takes_the_only_one(node: ir.Node, before: Shape) -> bool:
    index = constant_of(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    return before[axis] == 1 and index is not None and index.size == 1


def _slices_unit_axes(node: ir.Node, before: Shape) -> bool:
    axes = constant_of(node.inputs[3]) if len(node.inputs) > 3 else np.arange(len(before))
    return axes is not None and all(before[axis] == 1 for axis in axes)


_MOVES: dict[str, Callable[[ir.Node, Shape], bool]] = {
    "Identity": _always,
    "Squeeze": _always,
    "Unsqueeze": _always,
    "Reshape": _always,
    "Flatten": _always,
    "Expand": _always,
    "Transpose": _keeps_order,
    "Gather": _takes_the_only_one,
    "Slice": _slices_unit_axes,
}


def _emit_move(
    graph: ir.Graph, node: ir.Node | None, source: ir.Value, shape: Shape, name: str | None
) -> ir.Value:
    """Add the cheapest node that gives `source` another shape of the same core."""
    before = known(source)
    gains = [new - old for old, new in zip(_gaps(before), _gaps(shape), strict=True)]
    if all(gain >= 0 for gain in gains):
        op_type, detail, how = "Unsqueeze", "axes", _surplus_axes(shape, gains)
    elif all(gain <= 0 for gain in gains):
        op_type, detail, how = "Squeeze", "axes", _surplus_axes(before, [-gain for gain in gains])
    elif sum(isinstance(size, str) for size in shape) <= 1:
        op_type, detail, how = "Reshape", "shape", _target(shape)
    else:
        source = _emit_move(graph, node, source, _core(before), None)
        return _emit_move(graph, node, source, shape, name)
    name = name or f"{source.name}_{op_type.lower()}d"
    wire = Wiring(graph, node)
    value = wire.op(op_type, source, wire.constant(f"{name}_{detail}", how), name=name)
    value.shape, value.type = ir.Shape(shape), source.type
    return value


def _gaps(shape: Shape) -> list[int]:
    """Count the size-1 axes in front of each core axis, and behind the last."""
    bounds = [-1, *_core_axes(shape), len(shape)]
    return [right - left - 1 for left, right in pairwise(bounds)]


def _surplus_axes(shape: Shape, surplus: Sequence[int]) -> NDArray[np.int64]:
    """Return the first `surplus` size-1 axes of each gap of `shape`."""
    starts = [0, *(axis + 1 for axis in _core_axes(shape))]
    axes = [start + i for start, count in zip(starts, surplus, strict=True) for i in range(count)]
    return np.array(axes, np.int64)


def _target(shape: Shape) -> NDArray[np.int64]:
    """Return the size that a Reshape to `shape` is given: -1 for a symbol."""
    return np.array([size if isinstance(size, int) else -1 for size in shape], np.int64)


# --- nodes that work on sources -----------------------------------------------------------------


def _plan(node: ir.Node, rewrite: _Rewrite) -> _Plan | None:
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    shapes = [dims(value) for value in (*node.inputs, *node.outputs) if value is not None]
    if rule is None or any(shape is None or None in shape for shape in shapes):
        return None
    return rule(node, rewrite)


def _layouts(values: Sequence[ir.Value | None], rewrite: _Rewrite) -> Iterator[list[Shape]]:
    """Return shapes that a node could take its inputs in: as they are, or all without unit axes."""
    shapes = [known(rewrite.source(value)) for value in values]
    yield shapes
    yield [_core(shape) for shape in shapes]


def _elementwise(node: ir.Node, rewrite: _Rewrite) -> _Plan | None:
    """Work in a layout in which the inputs' axes meet as they do in the node's own."""
    given = [value for value in node.inputs if value is not None]
    wanted = _meet([known(value) for value in given])
    for shapes in _layouts(given, rewrite):
        found = _meet(shapes)
        if wanted is not None and found is not None and wanted[1:] == found[1:]:
            moved = iter([rewrite.moved(*pair, node) for pair in zip(given, shapes, strict=True)])
            return _Plan([value and next(moved) for value in node.inputs], [found[0]], {})
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
    place = {axis: index for index, axis in enumerate(_core_axes(common))}
    return common, _core(common), [[place[a] for a in _core_axes(shape)] for shape in padded]


def _along_axis(node: ir.Node, rewrite: _Rewrite) -> _Plan | None:
    """Work along the axis that stands for the node's `axis`, in one layout of all data inputs."""
    data = [v for v in node.inputs[: None if node.op_type == "Concat" else 1] if v is not None]
    own = [known(value) for value in data]
    axis = node.attributes.get_int("axis", -1) % len(own[0])
    for shapes in _layouts(data, rewrite):
        places = {_place(o, axis, shape) for o, shape in zip(own, shapes, strict=True)}
        place = next(iter(places))
        if place is None or len(places) > 1:
            continue
        around = {(shape[:place], shape[place + 1 :]) for shape in shapes}
        if len(around) > 1 or (node.op_type in _LAST_ONLY and place + 1 < len(shapes[0])):
            continue
        ((left, right),) = around
        results = [(*left, known(value)[axis], *right) for value in node.outputs]
        moved = [rewrite.moved(*pair, node) for pair in zip(data, shapes, strict=True)]
        return _Plan([*moved, *node.inputs[len(data) :]], results, {"axis": place})
    return None


def _place(shape: Shape, axis: int, source: Shape) -> int | None:
    """Return the axis of `source` that stands for `axis` of `shape`, of the same core."""
    index = len(_core(shape[:axis]))
    if shape[axis] != 1:
        return _core_axes(source)[index]
    start = [0, *(core + 1 for core in _core_axes(source))][index]
    return start if _gaps(source)[index] else None


def _product(node: ir.Node, rewrite: _Rewrite) -> _Plan | None:
    """Multiply a matrix where the left operand is one, at most one core axis and the last."""
    left, right = node.inputs
    shape, weights = known(left), known(right)
    if left is None or constant_of(right) is None or len(weights) != 2 or len(shape) < 2:
        return None
    rows = _core(shape[:-1])
    if len(rows) > 1:
        source = rewrite.source(left)
        if known(source)[-1] != shape[-1]:
            return None
        return _Plan([source, right], [(*known(source)[:-1], weights[1])], {})
    row = rows[0] if rows else 1
    matrix = rewrite.moved(left, (row, shape[-1]), node)
    return _Plan([matrix, right], [(row, weights[1])], {})


def _rows_of_table(node: ir.Node, rewrite: _Rewrite) -> _Plan | None:
    """Look up the source of the ids, at most one core axis as a vector."""
    table, ids = node.inputs
    if ids is None or constant_of(table) is None or node.attributes.get_int("axis", 0) != 0:
        return None
    core = _core(known(ids))
    vector = rewrite.moved(ids, core or (1,), node) if len(core) < 2 else rewrite.source(ids)
    return _Plan([table, vector], [(*known(vector), *known(table)[1:])], {})


def _to_core(node: ir.Node, rewrite: _Rewrite) -> _Plan | None:
    """Reshape the source to the core of the result: elements stay in order."""
    core = _core(known(node.outputs[0]))
    if sum(isinstance(size, str) for size in core) > 1:
        return None
    size = Wiring(rewrite.graph).constant(f"{node.name}_shape", _target(core))
    return _Plan([rewrite.source(node.inputs[0]), size], [core], {})


_ELEMENTWISE = (
    "Abs",
    "Add",
    "And",
    "BitShift",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
)
_LAST_ONLY = ("LayerNormalization",)
_ALONG_AXIS = ("Concat", "Hardmax", "LogSoftmax", "Softmax", "Split", *_LAST_ONLY)

_RULES: dict[str, Callable[[ir.Node, _Rewrite], _Plan | None]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_ALONG_AXIS, _along_axis),
    "MatMul": _product,
    "Gather": _rows_of_table,
    "Reshape": _to_core,
}
