"""Attention over a window of steps: the keys and values of that window are states.

scores     q (batch, n, size) · keys_context and k (batch, size, past + n) → (batch, n, past + n)
mask       its numbers by the distance of two steps
softmax    keys before the first one that is defined have no weight
result     weights · values_context and v

The axis of keys has the `past` frames before those of the chunk; queries that look ahead come so
many frames later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgernn.errors import UnsupportedModelError
from edgernn.export.chunk_form.elementwise import values_of
from edgernn.export.chunk_form.features import FEATURE_RULES
from edgernn.export.chunk_form.masks import banded, key_flags
from edgernn.export.chunk_graph.attention_band import band_of, time_axes
from edgernn.export.chunk_graph.form import Form
from edgernn.export.chunk_graph.time_axis import Band, Frames, Keys, Size, Streamed
from edgernn.export.ir.operator_kinds import ELEMENTWISE

__all__ = ["ATTENTION_RULES", "PRODUCT_RULES", "has_keys"]


def has_keys(one: Streamed | Size) -> bool:
    """Return whether a value has an axis of keys."""
    return isinstance(one, Streamed) and one.time is not None and one.time.keys is not None


def _matmul(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    rank, out = form.rank(node.outputs[0]), node.outputs[0]
    axes = [_time_axis(form, old) for old in node.inputs]
    ranks = [form.rank(old) for old in node.inputs]
    if axes == [ranks[0] - 2, ranks[1] - 1] and ranks[1] > 1:
        return _scores(node, form, rank - 2, rank - 1)
    if axes == [ranks[0] - 1, ranks[1] - 2] and len(time_axes(form, out)) > 1:
        raise UnsupportedModelError("it multiplies keys by queries; write queries by keys")
    return FEATURE_RULES["MatMul"](node, form)


def _einsum(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    axes = [_time_axis(form, old) for old in node.inputs]
    terms, right = _terms(node)
    if len(axes) == 2 and None not in axes and "." not in "".join(terms):
        q, k = (term[axis or 0] for term, axis in zip(terms, axes, strict=True))
        if q != k and q in right and k in right and right.index(q) < right.index(k):
            return _scores(node, form, right.index(q), right.index(k))
    return FEATURE_RULES["Einsum"](node, form)


def _terms(node: ir.Node) -> tuple[list[str], str]:
    left, _, right = node.attributes.get_string("equation", "").replace(" ", "").partition("->")
    return left.split(","), right


def _time_axis(form: Form, old: ir.Value | None) -> int | None:
    one = form.of(old)
    return one.time.axis if isinstance(one, Streamed) and one.time is not None else None


def _scores(node: ir.Node, form: Form, axis: int, keys_axis: int) -> Sequence[Streamed | None]:
    """Write the product of queries and keys."""
    out = node.outputs[0]
    queries, keys = (form.streamed(value) for value in node.inputs)
    if queries.frames.rows or keys.frames.rows or queries.frames.rate != keys.frames.rate:
        raise UnsupportedModelError("its queries and keys are not steps of one sequence")
    band = band_of(form, out)
    queries = form.plain(form.started(queries, "queries"))
    keys = form.plain(form.started(keys, "keys"))
    delay = max(queries.frames.delay, keys.frames.delay)
    keys = form.delayed(keys, delay - keys.frames.delay, "keys")
    queries = form.delayed(queries, delay + band.ahead - queries.frames.delay, "queries")
    (new,) = form.builder.copy(node, [queries.value, _windowed(form, keys, band, "keys")])
    exact = queries.frames.exact_end and keys.frames.exact_end and not band.ahead
    time = replace(
        queries.frames, axis=axis, before=None, exact_end=exact, keys=Keys(keys_axis, band)
    )
    return [Streamed(new, time)]


def _windowed(form: Form, one: Streamed, band: Band, name: str) -> ir.Value:
    """Return the frames of the window in front of those of the chunk."""
    window = band.past + band.ahead
    return form.builder.extended(one, window, name) if window else one.value


def _elementwise(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a node on scores or weights, with masks and numbers for each query or key."""
    rank = form.rank(node.outputs[0])
    found = [None if old is None else form.of(old) for old in node.inputs]
    one = next(one for one in found if isinstance(one, Streamed) and has_keys(one))
    time = _shifted_axes(one, rank - len(one.dims))
    inputs = [None if old is None else _beside_scores(form, old, time, rank) for old in node.inputs]
    (new,) = form.builder.copy(node, values_of(inputs))
    return [Streamed(new, time)]


def _shifted_axes(one: Streamed, by: int) -> Frames:
    """Return the time of a value with so many axes more in front."""
    time = one.frames
    assert time.keys is not None
    keys = replace(time.keys, axis=time.keys.axis + by)
    return replace(time, axis=time.axis + by, keys=keys)


def _beside_scores(form: Form, old: ir.Value, time: Frames, rank: int) -> Streamed:
    """Return an input of a node on scores of `rank` axes, whose time is `time`."""
    one, keys = form.of(old), time.keys
    assert keys is not None
    if isinstance(one, Size) and len(time_axes(form, old)) == 2:
        return banded(form, old, time, rank)
    one = form.streamed(old)
    if one.moment:
        raise UnsupportedModelError("every step meets a value that is known after the last one")
    if one.time is None:
        return one
    axis = one.time.axis + rank - len(one.dims)
    if has_keys(one):
        if replace(_shifted_axes(one, rank - len(one.dims)), exact_end=True) != replace(
            time, exact_end=True
        ):
            raise UnsupportedModelError("two attentions of different windows or delays meet")
        return one
    if one.time.rows or axis not in (time.axis, keys.axis):
        raise UnsupportedModelError("a number of steps meets the weights of attention")
    one = form.plain(form.started(one, old.name or "scores"))
    later = time.delay - (keys.band.ahead if axis == keys.axis else 0) - one.frames.delay
    if later < 0:
        raise UnsupportedModelError("the weights of attention meet a value that comes later")
    one = form.delayed(one, later, old.name or "scores")
    if axis == time.axis:
        return one
    return replace(one, value=_windowed(form, one, keys.band, old.name or "keys"))


def _softmax(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = form.streamed(node.inputs[0])
    time = one.frames
    assert time.keys is not None
    axis = node.attributes.get_int("axis", -1) % len(one.dims)
    if axis == time.axis:
        raise UnsupportedModelError("it normalizes over queries: it needs all steps at once")
    value = one.value
    if axis == time.keys.axis:
        flags = key_flags(form, one)
        assert node.inputs[0] is not None
        lowest = form.builder.constant(np.array(np.finfo(np.float32).min, np.float32), "lowest")
        if flags is not None:
            value = form.builder.op("Where", flags, lowest, value, name="seen_scores")
    (new,) = form.builder.copy(node, [value])
    return [Streamed(new, time)]


def _weighted(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write the product of weights and values by MatMul."""
    rank, one = form.rank(node.outputs[0]), form.of(node.inputs[0])
    if not isinstance(one, Streamed) or not has_keys(one):
        raise UnsupportedModelError("it multiplies values by weights; write weights by values")
    keys = one.frames.keys
    assert keys is not None
    values = form.streamed(node.inputs[1])
    size = len(one.dims)
    if (one.frames.axis, keys.axis) != (size - 2, size - 1) or (
        values.time is None or values.time.axis != len(values.dims) - 2
    ):
        raise UnsupportedModelError("its weights and values do not meet at the steps of the keys")
    return [_product(node, form, one, values, rank - 2)]


def _weighted_einsum(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    terms, right = _terms(node)
    one, values = (form.streamed(value) for value in node.inputs)
    if not has_keys(one) or values.time is None or has_keys(values):
        raise UnsupportedModelError("it multiplies values by weights; write weights by values")
    time = one.frames
    assert time.keys is not None
    query, key = terms[0][time.axis], terms[0][time.keys.axis]
    if terms[1][values.time.axis] != key or key in right or query not in right:
        raise UnsupportedModelError("its weights and values do not meet at the steps of the keys")
    return [_product(node, form, one, values, right.index(query))]


def _product(node: ir.Node, form: Form, one: Streamed, values: Streamed, axis: int) -> Streamed:
    """Return the values of each window, weighted."""
    time = one.frames
    assert time.keys is not None
    band = time.keys.band
    values = form.plain(form.started(values, "values"))
    later = time.delay - band.ahead - values.frames.delay
    if values.frames.rows or values.frames.rate != time.rate or later < 0:
        raise UnsupportedModelError("its values come at other steps than its keys")
    values = form.delayed(form.defined(values, 0), later, "values")
    (new,) = form.builder.copy(node, [one.value, _windowed(form, values, band, "values")])
    exact = time.exact_end and values.frames.exact_end
    return Streamed(new, replace(time, axis=axis, keys=None, exact_end=exact))


def _transpose(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    one = form.streamed(node.inputs[0])
    time = one.frames
    assert time.keys is not None
    perm = list(node.attributes.get_ints("perm", list(range(len(one.dims)))[::-1]))
    axis, keys = perm.index(time.axis), perm.index(time.keys.axis)
    if axis > keys:
        raise UnsupportedModelError("it puts the keys of attention before the queries")
    (new,) = form.builder.copy(node, [one.value])
    return [Streamed(new, replace(time, axis=axis, keys=replace(time.keys, axis=keys)))]


def _reshape(node: ir.Node, form: Form) -> Sequence[Streamed | None]:
    """Write a reshape that leaves the axes of queries and keys as they are."""
    one, out = form.streamed(node.inputs[0]), node.outputs[0]
    time = one.frames
    assert time.keys is not None
    axes = time_axes(form, out)
    if len(axes) != 2 or (time.axis, time.keys.axis) != (len(one.dims) - 2, len(one.dims) - 1):
        raise UnsupportedModelError("it folds the queries or keys of attention")
    time = replace(time, axis=axes[0], keys=replace(time.keys, axis=axes[1]))
    sizes = form.vector(form.dims(out, time), time)
    sizes[axes[1]] = (-1, False, None)
    shape = form.builder.size_vector(sizes)
    return [Streamed(form.builder.op("Reshape", one.value, shape, name=out.name or ""), time)]


PRODUCT_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    "MatMul": _matmul,
    "Einsum": _einsum,
}
"""What writes products, among them those of queries and keys."""

ATTENTION_RULES: dict[str, Callable[[ir.Node, Form], Sequence[Streamed | None]]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Transpose": _transpose,
    "Softmax": _softmax,
    "MatMul": _weighted,
    "Einsum": _weighted_einsum,
}
"""What writes nodes one of whose inputs has an axis of keys."""
