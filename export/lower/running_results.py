"""Running results along an axis: `edgernn::Running`, written as a Scan or as operators.

The result y of x is y[0] = x[0] and y[t] = y[t - 1] ∘ x[t], where ∘ is a product, a maximum, a
minimum or log(eᵃ + eᵇ). torch's exporter writes logcumsumexp with one maximum for all steps, which
underflows after some hundred steps, and refuses the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.ir.node_builder import NodeBuilder
from edgernn.export.ir.operator_kinds import EDGERNN, RUNNING
from edgernn.export.ir.shapes import known_shape

__all__ = ["RunningScan", "running_scan", "write_running"]

_UNROLLED = 64
"""The largest constant size of an axis for which operators are written, without a Scan."""

_BODY = "running"
"""The name of the body of a Scan."""

Combine = Callable[[NodeBuilder, ir.Value, ir.Value, np.dtype[Any]], ir.Value]


def _log_add_exp(
    builder: NodeBuilder, one: ir.Value, other: ir.Value, dtype: np.dtype[Any]
) -> ir.Value:
    """Return log(eᵃ + eᵇ) = max + softplus(-|a - b|); the infinity where both are the same."""
    infinity = builder.constant("infinity", np.array(np.inf, dtype))
    zero = builder.constant("zero", np.array(0, dtype))
    largest = builder.op("Max", one, other, name="largest")
    size = builder.op("Abs", largest, name="size")
    endless = builder.op("Equal", size, infinity, name="endless")
    distance = builder.op("Abs", builder.op("Sub", one, other, name="apart"), name="distance")
    distance = builder.op("Where", endless, zero, distance, name="finite_distance")
    rest = builder.op("Softplus", builder.op("Neg", distance, name="closeness"), name="rest")
    return builder.op("Add", largest, rest, name="sum")


def _operator(op_type: str) -> Combine:
    return lambda builder, one, other, _: builder.op(op_type, one, other, name=op_type.lower())


class _Kind(NamedTuple):
    """How a kind combines the result so far with the next element; the neutral element by dtype."""

    combine: Combine
    start: Callable[[np.dtype[Any]], Any]


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


_KINDS: Mapping[str, _Kind] = {
    "logcumsumexp": _Kind(_log_add_exp, _lowest),
    "cumprod": _Kind(_operator("Mul"), lambda _: 1),
    "cummax": _Kind(_operator("Max"), _lowest),
    "cummin": _Kind(_operator("Min"), _highest),
}


@dataclass(frozen=True)
class RunningScan:
    """A Scan that `write_running` wrote.

    Attributes:
        kind: `cumprod`, `cummax`, `cummin` or `logcumsumexp`.
        start: What leaves every finite number as it is.
        dtype: Of its numbers.
    """

    kind: str
    start: float
    dtype: ir.DataType

    def combined(self, builder: NodeBuilder, so_far: ir.Value, now: ir.Value) -> ir.Value:
        """Add operators for the result so far and the next element."""
        return _KINDS[self.kind].combine(builder, so_far, now, _dtype(now))


def running_scan(node: ir.Node) -> RunningScan | None:
    """Return what a Scan computes where `write_running` wrote it, else None."""
    body = node.attributes["body"].as_graph() if "body" in node.attributes else None
    if body is None or body.name != _BODY or len(body.inputs) != 2:
        return None
    x = body.inputs[1]
    dtype = x.dtype or ir.DataType.FLOAT
    operators = [one.op_type for one in body]
    for name, kind in _KINDS.items():
        if operators == [one.op_type for one in _body("", ir.TensorType(ir.DataType.FLOAT), kind)]:
            start = kind.start(_dtype(x))
            if np.isinf(start):
                start = float(np.copysign(np.finfo(_dtype(x)).max, start))
            return RunningScan(name, start, dtype)
    return None


def write_running(model: ir.Model) -> None:
    """Replace every running result by operators of the default domain, in place."""
    for graph in list(model.graphs()):
        for node in list(graph):
            if (node.domain, node.op_type) == (EDGERNN, RUNNING):
                assert isinstance(graph, ir.Graph)
                _write(graph, node)
    passes.RemoveUnusedOpsetsPass()(model)
    passes.NameFixPass()(model)


def _write(graph: ir.Graph, node: ir.Node) -> None:
    x, old = node.inputs[0], node.outputs[0]
    assert x is not None
    shape = known_shape(x)
    axis = node.attributes["axis"].as_int() % len(shape)
    kind = _KINDS[node.attributes["kind"].as_string()]
    builder = NodeBuilder(graph, node, f"{old.name}_")
    size = shape[axis]
    if isinstance(size, int) and size <= _UNROLLED:
        new = _in_rounds(builder, x, axis, size, kind)
    else:
        new = _as_scan(builder, x, axis, len(shape), kind)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [], [old], [new])


def _in_rounds(builder: NodeBuilder, x: ir.Value, axis: int, size: int, kind: _Kind) -> ir.Value:
    """Combine every element with the one 1 before it, then 2, then 4, …."""
    y = builder.op("Identity", x, name="first")
    axes = builder.constant("axis", np.array([axis], np.int64))
    for reach in (2**n for n in range((size - 1).bit_length())):
        ends = [builder.constant("end", np.array([n], np.int64)) for n in (0, reach, -reach, size)]
        kept = builder.op("Slice", y, ends[0], ends[1], axes, name="kept")
        before = builder.op("Slice", y, ends[0], ends[2], axes, name="before")
        after = builder.op("Slice", y, ends[1], ends[3], axes, name="after")
        joined = kind.combine(builder, before, after, _dtype(x))
        y = builder.op("Concat", kept, joined, name="joined", axis=axis)
    return y


def _as_scan(builder: NodeBuilder, x: ir.Value, axis: int, rank: int, kind: _Kind) -> ir.Value:
    """Combine element by element in a Scan, from the neutral element on."""
    order = [axis, *(place for place in range(rank) if place != axis)]
    back = [order.index(place) for place in range(rank)]
    front = builder.op("Transpose", x, name="steps", perm=order)
    sizes = builder.op("Shape", front, name="sizes", start=1)
    start = builder.constant("start", np.array(kind.start(_dtype(x)), _dtype(x)))
    start = builder.op("Expand", start, sizes, name="nothing")
    body = _body(f"{x.name}_running_", ir.TensorType(x.dtype or ir.DataType.FLOAT), kind)
    _, collected = builder.op_multi_out(
        "Scan", start, front, names=("last", "collected"), body=body, num_scan_inputs=1
    )
    return builder.op("Transpose", collected, name="running", perm=back)


def _body(prefix: str, kind_of: ir.TensorType, kind: _Kind) -> ir.Graph:
    before, now = (ir.Value(name=f"{prefix}{one}", type=kind_of) for one in ("so_far", "now"))
    body = ir.Graph([before, now], [], nodes=[], name=_BODY)
    builder = NodeBuilder(body, prefix=prefix)
    after = kind.combine(builder, before, now, np.dtype(kind_of.dtype.numpy()))
    copy = builder.op("Identity", after, name="collected")
    after.type = copy.type = kind_of
    body.outputs.extend([after, copy])
    return body


def _dtype(x: ir.Value) -> np.dtype[Any]:
    return np.dtype((x.dtype or ir.DataType.FLOAT).numpy())
