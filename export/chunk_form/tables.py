"""Tables that are looked up by position: a constant cut at the number of steps, an embedding.

pe[:T]                       row i of the table for frame i
nn.Embedding(arange(T))      likewise

A position past the end of a table is an error: the position state has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.positions import counted
from edgernn.export.chunk_form.static import copied
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Frames, Streamed

__all__ = ["TABLE_RULES", "limit_lookup"]

_AFFINE = frozenset(
    (
        "Add", "Cast", "CumSum", "Expand", "Identity", "Mul", "Range", "Reshape", "Squeeze", "Sub",
        "Tile", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
"""Operators after which numbers that grow evenly still do, however many there are."""


def _cut(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write the first rows of a constant, as many as there are frames."""
    found = _cut_at_steps(node, form)
    if found is None:
        return copied(node, form)
    axis, first, time = found
    table, out, builder = form.streamed(node.inputs[0]).value, node.outputs[0], form.builder
    table = _cut_beside(node, form, table, axis)
    index = builder.frame_index(time.rate, time.delay)
    if first:
        index = builder.op("Add", index, builder.ints(first), name="rows")
    rows = form.shapes(node.inputs[0])[0][axis]
    index = builder.op("Min", index, builder.ints(rows - 1), name="rows")
    index = builder.op("Reshape", index, builder.ints(-1), name="rows")
    value = builder.op("Gather", table, index, name=out.name or "rows", axis=axis)
    value.type = out.type
    _limit(form, rows - first, time)
    return [Streamed(value, time)]


def _cut_at_steps(node: ir.Node, form: Form) -> tuple[int, int, Frames] | None:
    """Return the axis that is cut at the number of steps, its first row, and its time.

    Raises:
        UnsupportedModelError: It is cut at its start, or not row by row.
    """
    out, rank = node.outputs[0], form.rank(node.outputs[0])
    shapes = form.shapes(out)
    axis = next((a for a in range(rank) if len({shape[a] for shape in shapes[1:]}) > 1), None)
    if axis is None:
        return None
    runs = _bounds(node, form, rank)
    sizes = [shape[axis] for shape in form.shapes(node.inputs[0])]
    rows = {range(size)[run[axis]] for size, run in zip(sizes, runs, strict=True)}
    if len(set(sizes)) > 1:
        raise UnsupportedModelError("what it cuts depends on the number of steps")
    if len({(one.start, one.step) for one in rows}) > 1 or any(one.step != 1 for one in rows):
        raise UnsupportedModelError("it takes rows from the end of a table, or at a stride")
    return axis, rows.pop().start, counted(form, [shape[axis] for shape in shapes], axis)


def _bounds(node: ir.Node, form: Form, rank: int) -> list[dict[int, slice]]:
    """Return what a Slice takes of each axis, in each run."""
    given = [None if value is None else form.numbers(value) for value in node.inputs[1:]]
    given += [None] * (4 - len(given))
    starts, ends, axes, steps = given
    if starts is None or ends is None:
        raise UnsupportedModelError("what it takes depends on data")
    found = []
    for run in range(len(starts)):
        first, last = np.atleast_1d(starts[run]), np.atleast_1d(ends[run])
        places = range(len(first)) if axes is None else np.atleast_1d(axes[run])
        strides = [1] * len(first) if steps is None else np.atleast_1d(steps[run])
        found.append(
            {
                int(place) % rank: slice(int(a), int(b), int(stride))
                for place, a, b, stride in zip(places, first, last, strides, strict=True)
            }
        )
    return found


def _cut_beside(node: ir.Node, form: Form, table: ir.Value, axis: int) -> ir.Value:
    """Return a table whose other axes are cut as a Slice cuts them."""
    bounds = _bounds(node, form, form.rank(node.outputs[0]))
    others = {place: one for place, one in bounds[0].items() if place != axis}
    if any(run[place] != one for run in bounds for place, one in others.items()):
        raise UnsupportedModelError("it cuts another axis of a table at the number of steps")
    if not others:
        return table
    builder = form.builder
    return builder.op(
        "Slice",
        table,
        builder.ints(*(one.start for one in others.values())),
        builder.ints(*(one.stop for one in others.values())),
        builder.ints(*others),
        builder.ints(*(one.step for one in others.values())),
        name="table",
    )


def limit_lookup(node: ir.Node, form: Form, one: Streamed) -> Streamed:
    """Limit the position to the rows of the table that a Gather looks up.

    Args:
        node: The Gather; its indices may be computed from the position, or from data.
        form: Where it is written.
        one: The indices.

    Returns:
        Indices of rows that are there: steps after the end, which give the last frames of a model
        with padding, may be past the table.
    """
    time = one.frames
    data, indices = node.inputs[0], node.inputs[1]
    rows = {shape[node.attributes.get_int("axis", 0)] for shape in form.shapes(data)}
    arrays = form.sizes.fixed_numbers(indices.name or "") if indices is not None else None
    if arrays is None or len(rows) > 1 or not _grows_evenly(indices, form):
        return one
    lines = {_line(np.moveaxis(array, time.axis, 0)) for array in arrays}
    if len(lines) > 1 or (line := lines.pop()) is None or line[1] < 1:
        return one
    (first, step), last = line, rows.pop() - 1
    _limit(form, (last - first) // step + 1, time)
    end = form.builder.constant(np.array(last, arrays[0].dtype), "last_row")
    return one.with_value(form.builder.op("Min", one.value, end, name="rows"))


def _grows_evenly(value: ir.Value | None, form: Form) -> bool:
    """Return whether a value is computed from a count by sums and products with constants."""
    if value is None or form.constant(value) is not None:
        return True
    node = value.producer()
    if node is None or node.domain or node.op_type not in _AFFINE:
        return False
    if node.op_type == "Range":
        return True
    known = node.inputs[:1] if node.op_type in ("Expand", "Reshape", "Tile") else node.inputs
    return all(_grows_evenly(one, form) for one in known)


def _line(array: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the first number and the step of numbers along axis 0; None where they differ."""
    rows = array.reshape(len(array), -1)
    column = rows[:, :1]
    steps = np.unique(np.diff(column[:, 0]))
    return (
        (int(column[0, 0]), int(steps[0])) if len(steps) == 1 and (rows == column).all() else None
    )


def _limit(form: Form, frames: int, time: Frames) -> None:
    """Limit the position to as many frames of the model's own."""
    form.builder.limit_position((frames + time.delay) // form.builder.whole(time.rate))


TABLE_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {"Slice": _cut}
"""What writes nodes of constants and sizes alone, besides a copy."""
