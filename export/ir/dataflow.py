"""Where a value of a graph comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import onnx_ir as ir

from edgernn.export.ir.recurrent_operators import OPERATORS

__all__ = [
    "MOVES",
    "ancestors",
    "depends_on_data",
    "id_axis",
    "id_limit",
    "input_dependencies",
    "is_elementwise_change",
    "is_random",
    "movement_sources",
    "reordering_sources",
]

# Operators that move numbers without changing them → how many of their inputs are moved
MOVES = {
    "Identity": 1,
    "Reshape": 1,
    "Squeeze": 1,
    "Unsqueeze": 1,
    "Transpose": 1,
    "Flatten": 1,
    "Slice": 1,
    "Split": 1,
    "Gather": 1,
    "Expand": 1,
    "Concat": 1 << 30,
}

# Operators whose second input says which entries of the first they take
_LOOKUPS = ("Gather", "GatherElements")

# Operators that read the size of a tensor, not its numbers
_SIZES = ("Shape", "Size", "RandomNormalLike", "RandomUniformLike")


# Operators that mix the entries of a tensor by weights
_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "Scan", *OPERATORS)

# Operators whose result is as much the one input as the other → the first of those inputs
_JOINED = {"Add": 0, "Sub": 0, "Sum": 0, "Mean": 0, "Where": 1, "Concat": 0}


def is_elementwise_change(value: ir.Value, sources: Collection[ir.Value]) -> bool:
    """Return whether `value` is one of `sources`, or a change of them entry by entry.

    A gate, a mask, a norm or a mean with weights is; a product by weights is not, nor is the sum
    with something that is no change of them and no constant.
    """
    known: dict[ir.Value, bool] = {}
    pending = [value]
    while pending:
        one = pending[-1]
        node = one.producer()
        if one in known:
            pending.pop()
        elif one in sources:
            known[one] = True
        elif node is None or node.domain or node.op_type in (*_PRODUCTS, *_SIZES):
            known[one] = False
        else:
            inputs = [input_ for input_ in node.inputs if input_ is not None]
            if missing := [input_ for input_ in inputs if input_ not in known]:
                pending.extend(missing)
                continue
            joined = inputs[_JOINED[node.op_type] :] if node.op_type in _JOINED else []
            known[one] = any(known[input_] for input_ in inputs) and all(
                known[input_] or not depends_on_data(input_) for input_ in joined
            )
    return known[value]


def depends_on_data(value: ir.Value) -> bool:
    """Return whether `value` depends on the numbers, not only the sizes, of a graph input."""
    return bool(input_dependencies(value))


def input_dependencies(value: ir.Value) -> list[ir.Value]:
    """Return the graph inputs whose numbers `value` depends on."""
    ends = _upstream(value, lambda node: 0 if node.op_type in _SIZES else None)
    return [source for source in ends if source.is_graph_input()]


def is_random(value: ir.Value) -> bool:
    """Return whether `value` is computed from numbers drawn anew at every run."""
    ends = _upstream(value, lambda node: 0 if node.op_type.startswith("Random") else None)
    return any(source.producer() is not None for source in ends)


def movement_sources(value: ir.Value) -> list[ir.Value]:
    """Return the values that `value` is put together from by moving numbers only."""
    sources = _upstream(value, lambda node: MOVES.get(node.op_type, 0) if not node.domain else 0)
    return list(dict.fromkeys(sources))


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


def reordering_sources(value: ir.Value | None) -> list[ir.Value]:
    """Return the values whose numbers `value` has, moved, sorted or as another integer type."""
    if value is None:
        return []
    counts = {**MOVES, "TopK": 1, "Cast": 1}
    return list(dict.fromkeys(_upstream(value, lambda node: counts.get(node.op_type, 0))))


def id_limit(port: ir.Value) -> int | None:
    """Return how many rows the tables have that the ids of graph input `port` look up."""
    return min((rows for rows in _rows(port) if isinstance(rows, int)), default=None)


def id_axis(port: ir.Value) -> str | None:
    """Return the axis, by its name, whose entries the ids of graph input `port` look up."""
    rows = (str(one.value) for one in _rows(port) if isinstance(one, ir.SymbolicDim) and one.value)
    return next((name for name in rows if name.isidentifier()), None)


def _rows(port: ir.Value) -> Iterator[int | ir.SymbolicDim]:
    """Yield the sizes of the axes along which the integers of a graph input look something up."""
    pending = [port]
    while pending:
        for node, index in pending.pop().uses():
            if node.op_type in _LOOKUPS and index == 1:
                table = node.inputs[0]
                axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
                if table is not None and table.shape is not None:
                    yield table.shape[axis]
            elif index == 0 and (node.op_type in MOVES or node.op_type == "Cast"):
                pending.extend(node.outputs)


def _upstream(value: ir.Value, followed: Callable[[ir.Node], int | None]) -> Iterator[ir.Value]:
    """Yield the values at which the way back from `value` ends.

    `followed` says how many inputs of a node the way back takes: None for all, 0 to end there.
    """
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        node = value.producer()
        count = 0 if node is None else followed(node)
        if node is None or count == 0:
            yield value
            continue
        pending.extend(input_ for input_ in node.inputs[:count] if input_ is not None)
