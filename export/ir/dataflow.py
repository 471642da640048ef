"""What a value of a graph is computed from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import onnx_ir as ir

from edgernn.export.ir.operator_kinds import moved_inputs, movement_of
from edgernn.export.ir.recurrent_operators import OPERATORS

__all__ = [
    "ancestors",
    "depends_on_data",
    "descendants",
    "id_axis",
    "id_limit",
    "input_dependencies",
    "is_elementwise_change",
    "is_random",
    "movement_sources",
    "reordering_sources",
    "upstream",
]

_LOOKUPS = ("Gather", "GatherElements")
"""Operators whose second input says which elements of the first they take."""

_SIZES = ("Shape", "Size", "RandomNormalLike", "RandomUniformLike")
"""Operators that read the size of a tensor, not its elements."""

_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "Scan", *OPERATORS)
"""Operators that mix the elements of a tensor by weights."""

_SUMS = {"Add": 0, "Sub": 0, "Sum": 0, "Mean": 0, "Where": 1, "Concat": 0}
"""Operators whose result is as much one input as the other → the first of those inputs."""


def is_elementwise_change(value: ir.Value, sources: Collection[ir.Value]) -> bool:
    """Return whether `value` is one of `sources`, or computed from them element by element.

    A gate, a mask, a norm or a weighted mean is. A product with weights is not, nor is a sum with
    other data.
    """
    changed = set(sources)
    for node in value.graph or ():
        if not node.domain and node.op_type not in (*_PRODUCTS, *_SIZES):
            inputs = [input_ for input_ in node.inputs if input_ is not None]
            others = [input_ for input_ in inputs if input_ not in changed]
            summands = inputs[_SUMS[node.op_type] :] if node.op_type in _SUMS else []
            if len(others) < len(inputs) and not any(
                input_ in others and depends_on_data(input_) for input_ in summands
            ):
                changed.update(node.outputs)
    return value in changed


def depends_on_data(value: ir.Value) -> bool:
    """Return whether `value` depends on the elements, not only the sizes, of a graph input."""
    return bool(input_dependencies(value))


def input_dependencies(value: ir.Value) -> list[ir.Value]:
    """Return the graph inputs whose elements `value` depends on."""
    ends = upstream(value, lambda node: None if node.op_type in _SIZES else node.inputs)
    return [source for source in ends if source.is_graph_input()]


def is_random(value: ir.Value) -> bool:
    """Return whether `value` is computed from random numbers."""
    ends = upstream(value, lambda node: None if node.op_type.startswith("Random") else node.inputs)
    return any(source.producer() is not None for source in ends)


def movement_sources(value: ir.Value) -> list[ir.Value]:
    """Return the values whose elements `value` has, moved."""
    return list(dict.fromkeys(upstream(value, lambda node: moved_inputs(node) or None)))


def ancestors(value: ir.Value) -> set[ir.Value]:
    """Return every value that `value` is computed from, itself among them."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        node = value.producer()
        if value not in seen and node is not None:
            pending.extend(input_ for input_ in node.inputs if input_ is not None)
        seen.add(value)
    return seen


def descendants(graph: ir.Graph, values: Iterable[ir.Value]) -> set[ir.Value]:
    """Return `values` and every value computed from them."""
    found = set(values)
    for node in graph:
        if any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def reordering_sources(value: ir.Value | None) -> list[ir.Value]:
    """Return the values whose elements `value` has: moved, sorted or as another integer type."""
    if value is None:
        return []

    def reordered(node: ir.Node) -> Sequence[ir.Value | None] | None:
        return node.inputs[:1] if node.op_type in ("TopK", "Cast") else moved_inputs(node) or None

    return list(dict.fromkeys(upstream(value, reordered)))


def id_limit(port: ir.Value) -> int | None:
    """Return the size of the smallest table that the ids of graph input `port` look up."""
    return min((size for size in _table_sizes(port) if isinstance(size, int)), default=None)


def id_axis(port: ir.Value) -> str | None:
    """Return the name of the dynamic axis whose elements the ids of graph input `port` look up."""
    names = (size.value or "" for size in _table_sizes(port) if isinstance(size, ir.SymbolicDim))
    return next((name for name in names if name.isidentifier()), None)


def _table_sizes(port: ir.Value) -> Iterator[int | ir.SymbolicDim]:
    """Yield the sizes of the axes along which the integers of a graph input look elements up."""
    pending = [port]
    while pending:
        for node, index in pending.pop().uses():
            if node.op_type in _LOOKUPS and index == 1:
                table, axis = node.inputs[0], node.attributes.get_int("axis", 0)
                if table is not None and table.shape is not None:
                    yield table.shape[axis]
            elif index == 0 and (movement_of(node) or node.op_type == "Cast"):
                pending.extend(node.outputs)


def upstream(
    value: ir.Value, followed: Callable[[ir.Node], Sequence[ir.Value | None] | None]
) -> Iterator[ir.Value]:
    """Yield the values at which the way back from `value` ends.

    `followed` returns the inputs of a node that the way takes, or None where it ends there.
    """
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        node = value.producer()
        inputs = None if node is None else followed(node)
        if inputs is None:
            yield value
        else:
            pending.extend(input_ for input_ in inputs if input_ is not None)
