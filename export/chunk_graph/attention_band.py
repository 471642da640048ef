"""How far attention looks, and its masks, from running the graph on more steps.

weights[i, j] is 0 where step i does not look at step j. Of a band, i - j is at most `past` and at
least -`ahead`, however many steps there are:

    1 . . . .
    1 1 . . .
    . 1 1 . .        past 1, ahead 0
    . . 1 1 .
    . . . 1 1

Masks are computed from the number of steps alone; within the band their numbers must follow from
the distance i - j.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Band

__all__ = ["band_of", "numbers_by_distance", "time_axes"]

_FRAMES = (48, 192, 768, 2048)
"""Frames of the runs, until the band is narrower than the run."""

_FEWER = (24, 12, 6)
"""The same where the graph does not run on so many."""


_LEAST = 1e-30
"""A weight below is 0 for some data only: its distance is not masked."""


def time_axes(form: Form, old: ir.Value | None) -> list[int]:
    """Return the axes of a value of the old graph whose sizes change with the number of steps."""
    runs = [form.shapes(old)[index] for index in (0, 2, 3)]
    return [axis for axis, sizes in enumerate(zip(*runs, strict=True)) if len(set(sizes)) > 1]


def band_of(form: Form, scores: ir.Value) -> Band:
    """Return how far the attention looks that has such scores.

    Raises:
        UnsupportedModelError: Its weights are not read; it looks at all steps; or how far it looks
            changes with the number of steps.
    """
    weights = _weights(form, scores)
    lengths = form.shapes(scores)[0][time_axes(form, scores)[0]], form.sizes.runs[0].sizes.steps
    per_frame = max(1, -(-lengths[1] // lengths[0]))
    past = ahead = 0
    for frames in (*_FRAMES, *_FEWER):
        steps = form.sizes.whole_hops(frames * per_frame)
        try:
            arrays = form.sizes.probe([one.name or "" for one in weights], steps)
        except UnsupportedModelError:
            continue
        past, ahead, length = _reach(form, weights, arrays)
        if max(past, ahead) <= length // 2 or (frames == _FRAMES[-1] and past < length - 1):
            return Band(past, ahead, steps)
        if frames in _FEWER:
            break
    if past and not ahead:
        raise UnsupportedModelError(
            "every step attends to all steps before it: what that remembers grows without bound"
        )
    raise UnsupportedModelError("it attends to all steps: it needs all of them at once")


def _weights(form: Form, scores: ir.Value) -> list[ir.Value]:
    """Return the values with two axes of steps, computed from scores, that others are made of."""
    pending, seen, found = [scores], {scores}, {}
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            raise UnsupportedModelError("its weights are an output, with two axes of steps")
        for node, _ in value.uses():
            for out in node.outputs:
                if not out.uses() and not out.is_graph_output():
                    continue
                if node.op_type != "Shape" and len(time_axes(form, out)) < 2:
                    found[value] = True
                elif node.op_type != "Shape" and out not in seen:
                    seen.add(out)
                    pending.append(out)
    if not found:
        raise UnsupportedModelError("what is made of its weights could not be followed")
    return list(found)


def _reach(
    form: Form, weights: Sequence[ir.Value], arrays: Sequence[NDArray[Any]]
) -> tuple[int, int, int]:
    """Return how far back and ahead weights are not 0, and the frames of the run."""
    past = ahead = length = 0
    for value, array in zip(weights, arrays, strict=True):
        if np.abs(array).min(initial=1, where=array != 0) < _LEAST:
            raise UnsupportedModelError(
                "its weights become small with the distance of two steps, but do not end"
            )
        rows, columns = time_axes(form, value)
        others = tuple(axis for axis in range(array.ndim) if axis not in (rows, columns))
        i, j = np.nonzero((array != 0).any(others))
        length = max(length, array.shape[rows])
        past, ahead = (
            max(past, int((i - j).max(initial=0))),
            max(ahead, int((j - i).max(initial=0))),
        )
    return past, ahead, length


def numbers_by_distance(form: Form, old: ir.Value, band: Band) -> NDArray[Any]:
    """Return the numbers of a mask for i - j from -ahead - 1 to past + 1, in place of its two axes.

    Raises:
        UnsupportedModelError: They depend on more than the distance.
    """
    (array,) = form.sizes.probe([old.name or ""], band.steps)
    rows, columns = time_axes(form, old)
    square = np.moveaxis(array, (rows, columns), (0, 1))
    parts = []
    for distance in range(-band.ahead - 1, band.past + 2):
        diagonal = np.diagonal(square, -distance)
        if not diagonal.shape[-1] or (diagonal != diagonal[..., :1]).any():
            raise UnsupportedModelError("its mask depends on more than how far two steps are apart")
        parts.append(diagonal[..., 0])
    return np.moveaxis(np.stack(parts), 0, rows)
