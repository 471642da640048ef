"""Masks of attention for the queries and keys of one chunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_graph.attention_band import numbers_by_distance, time_axes
from edgernn.export.chunk_graph.chunk_builder import ChunkBuilder
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Band, Frames, Streamed

__all__ = ["banded", "key_flags"]


def banded(form: Form, old: ir.Value, time: Frames, rank: int) -> Streamed:
    """Return a mask that follows from the distance of two steps, for the frames of one chunk.

    Args:
        form: Where it is written.
        old: A value with two axes of steps, which is computed from the number of steps alone.
        time: The time of the scores of `rank` axes that it meets.
        rank: The axes of the scores.
    """
    keys = time.keys
    assert keys is not None
    axes = [axis + rank - form.rank(old) for axis in time_axes(form, old)]
    if axes != [time.axis, keys.axis] or keys.axis != time.axis + 1:
        raise UnsupportedModelError("its mask has the steps in other axes than its scores")
    table = numbers_by_distance(form, old, keys.band)
    axis = time_axes(form, old)[0]
    builder, count = form.builder, form.builder.frame_count(time.rate)
    if isinstance(count, int):
        index = _distances(keys.band, count)
        value = builder.constant(np.take(table, index, axis), old.name or "mask")
    else:
        numbers = builder.constant(table, old.name or "mask")
        places = _written_distances(builder, keys.band, count)
        value = builder.op("Gather", numbers, places, name=old.name or "mask", axis=axis)
    value.type = old.type
    return Streamed(value)


def _distances(band: Band, count: int) -> np.ndarray:
    """Return (queries, keys): the places of their distances in a table."""
    queries, keys = np.arange(count), np.arange(count + band.past + band.ahead)
    distance = queries[:, None] + band.past - keys[None, :]
    places: np.ndarray = np.clip(distance, -band.ahead - 1, band.past + 1) + band.ahead + 1
    return places


def _written_distances(builder: ChunkBuilder, band: Band, count: ir.Value) -> ir.Value:
    """Return the same as a value, for a number of frames that is one."""
    queries = builder.op("Unsqueeze", builder.offsets(count), builder.ints(1), name="queries")
    keys = builder.offsets(_keys_count(builder, band, count))
    distance = builder.op("Sub", queries, keys, name="distance")
    # from -past - ahead - 1 on, as places in a table that starts at -ahead - 1
    first = builder.ints(band.past + band.ahead + 1)
    place = builder.op("Add", distance, first, name="distance")
    low, high = (
        builder.constant(np.array(number, np.int64), "int")
        for number in (0, band.past + band.ahead + 2)
    )
    return builder.op("Clip", place, low, high, name="distance")


def _keys_count(builder: ChunkBuilder, band: Band, count: int | ir.Value) -> int | ir.Value:
    window = band.past + band.ahead
    if isinstance(count, int):
        return count + window
    return builder.op("Add", count, builder.ints(window), name="keys") if window else count


def key_flags(form: Form, one: Streamed) -> ir.Value | None:
    """Return where the keys of scores are none: before the first that is defined.

    None where there are no such keys.
    """
    time, builder = one.frames, form.builder
    assert time.keys is not None
    band = time.keys.band
    window, delay = band.past + band.ahead, time.delay - band.ahead
    if not window and delay <= 0:
        return None
    first = builder.op(
        "Mul", builder.position(), builder.ints(builder.whole(time.rate)), name="key"
    )
    first = builder.op("Unsqueeze", first, builder.ints(1), name="key")
    count = _keys_count(builder, band, builder.frame_count(time.rate))
    index = builder.op("Add", first, builder.offsets(count), name="key_index")
    flags = builder.op("Less", index, builder.ints(window + delay), name="no_key")
    return builder.placed(flags, replace(one, time=replace(time, axis=time.keys.axis)))
