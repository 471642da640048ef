"""Contexts of one value as one state.

What reads 2 past frames reads them from the 6 that another operator keeps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder, Context
from edgernn.export.chunk_graph.size_builder import END
from edgernn.export.ir.node_builder import constant_of

__all__ = ["share_contexts"]


def share_contexts(builder: ChunkBuilder) -> None:
    """Let what reads a context read a longer one of the same value.

    The states of shorter contexts stay; nothing depends on them any more.
    """
    longest: dict[tuple[ir.Value, int], list[Context]] = {}
    for context in sorted(builder.contexts, key=lambda one: -one.size):
        found = longest.setdefault((context.value, context.axis), [])
        for index, other in enumerate(found):
            if _agree(builder, other, context):
                found[index] = _share(builder, other, context)
                break
        else:
            found.append(context)


def _share(builder: ChunkBuilder, kept: Context, other: Context) -> Context:
    """Let what reads `other` read `kept`; return `kept` with all frames that must be known."""
    more = kept.size - other.size
    for node, _ in tuple(other.whole.uses()):
        start = _start(node, other)
        if start is not None:
            node.replace_input_with(0, kept.whole)
            node.replace_input_with(1, builder.ints(start + more))
    if other.whole.uses():
        whole = kept.whole
        if more:
            whole = builder.slice(whole, kept.axis, more)
            whole.type = kept.whole.type
        ir.convenience.replace_all_uses_with(other.whole, whole)
    if other.known <= kept.known:
        return kept
    place, state = _state(builder, kept)
    initial = _initial(builder, other)
    if np.any(initial):
        widths = [(0, 0)] * initial.ndim
        widths[kept.axis] = (kept.size - other.size, 0)
        builder.states[place] = replace(state, initial=np.pad(initial, widths))
    return replace(kept, known=other.known)


def _start(node: ir.Node, context: Context) -> int | None:
    """Return where a Slice along time starts, if it counts from the front, and ends at the back."""
    bounds = [constant_of(value) for value in node.inputs[1:4]]
    if node.op_type != "Slice" or any(one is None or one.size != 1 for one in bounds):
        return None
    start, end, axis = (int(one.item()) for one in bounds if one is not None)
    back = end < 0 or end == END
    return start if start >= 0 and back and axis == context.axis else None


def _agree(builder: ChunkBuilder, kept: Context, other: Context) -> bool:
    """Return whether two contexts start with the same frames, as far as they matter."""
    count = min(kept.known, other.known, other.size)
    if count == 0:
        return True
    first, second = (_last(_initial(builder, one), one.axis, count) for one in (kept, other))
    return np.array_equal(first, second)


def _last(array: NDArray[Any], axis: int, count: int) -> NDArray[Any]:
    return array.take(range(array.shape[axis] - count, array.shape[axis]), axis)


def _state(builder: ChunkBuilder, context: Context) -> tuple[int, Any]:
    name = (context.state.name or "").removesuffix("_in")
    return next((i, one) for i, one in enumerate(builder.states) if one.name == name)


def _initial(builder: ChunkBuilder, context: Context) -> NDArray[Any]:
    """Return what a context is before the first step, with 1 for the batch."""
    _, state = _state(builder, context)
    assert context.state.shape is not None
    shape = [size if isinstance(size, int) else 1 for size in context.state.shape]
    if state.initial is None:
        return np.zeros(shape, np.float32)
    return np.asarray(state.initial)
