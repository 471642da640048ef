"""How recurrent layers of a sequence graph are written where their weights are quantized.

ONNX has no recurrent operator in integers. A layer whose recurrent weights are many becomes a
product of all steps' inputs and a Scan, whose body has the same products as the step graph. A Scan
costs some µs for each step, which is more than integers save in smaller layers: those stay
operators, which read integer weights through DequantizeLinear and compute in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from edgernn.contract import SEQUENCE
from edgernn.export.ir.node_builder import NodeBuilder, constant_of
from edgernn.export.ir.operator_kinds import EDGERNN
from edgernn.export.ir.recurrent_operators import (
    KINDS,
    Input,
    input_of,
    is_recurrent,
    kind_of,
)
from edgernn.export.ir.shapes import shape_of
from edgernn.export.lower.layer_scan import write_layer_as_scan
from edgernn.export.quantize.integer_rounding import quantize_full_range
from edgernn.export.quantize.weight_records import WeightRecord

__all__ = ["LEAST_HIDDEN", "read_dequantized", "still_column", "why_not_scan", "write_scans"]

LEAST_HIDDEN: Mapping[str, int] = {"LSTM": 384, "GRU": 384, "RNN": 256}
"""Operator → the least hidden size at which its Scan is faster, at batch 1, than the operator."""

_WEIGHTS = (Input.W, Input.R)
_STILL = sorted({number for kind in KINDS for number in kind.still_numbers})


def write_scans(model: ir.Model) -> None:
    """Replace the layers of a sequence graph that are faster as a Scan, in place."""
    layers = [node for node in model.graph if is_recurrent(node) and not why_not_scan(node)]
    for node in layers:
        write_layer_as_scan(model.graph, node)
    if layers:
        passes.RemoveUnusedNodesPass()(model)
        passes.NameFixPass()(model)


def why_not_scan(node: ir.Node) -> str:
    """Return why a recurrent layer stays an operator; empty where it becomes a Scan."""
    w, r, b = (constant_of(input_of(node, place)) for place in (Input.W, Input.R, Input.B))
    if w is None or r is None or b is None or node.domain == EDGERNN:
        return "its weights are computed"
    if any(input_of(node, place) is None for place in kind_of(node).initial_states):
        return "it has no initial state"
    if input_of(node, Input.SEQUENCE_LENS) is not None or input_of(node, Input.P) is not None:
        return "it has lengths or peepholes"
    if "clip" in node.attributes or node.attributes.get_int("layout", 0) != 0:
        return "it has attributes that no Scan here has"
    if SEQUENCE not in str((shape_of(node.inputs[Input.X]) or ("",))[0]):
        return "it does not run along the sequence"
    if still_column(w) is not None:
        return "a mask keeps its state after the end of each sequence"
    hidden, least = r.shape[-1], LEAST_HIDDEN[node.op_type]
    if hidden < least:
        return f"its hidden size is below {least}, where the operator is faster"
    return ""


def read_dequantized(node: ir.Node) -> Iterator[WeightRecord]:
    """Store W and R of a recurrent layer in int8, with a scale for each row, in place.

    W is (directions, gates · hidden_size, input_size), R (directions, gates · hidden_size,
    hidden_size). The layer reads them through DequantizeLinear.

    Yields:
        A record of each weight.
    """
    reason = f"read through DequantizeLinear: {why_not_scan(node)}"
    for place in _WEIGHTS:
        value = node.inputs[place]
        weights = constant_of(value)
        if value is not None and weights is not None and isinstance(node.graph, ir.Graph):
            record = value.name or "", node.op_type, tuple(weights.shape), "int8", reason
            _dequantize(node.graph, node, place, weights)
            yield WeightRecord(*record)


def still_column(w: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """Return the last column of W where it keeps a state after the end of its sequence, or None."""
    if w is None or not w.size:
        return None
    still = w[..., -1:]
    return still if np.isin(still, _STILL).all() and still.any() else None


def _dequantize(graph: ir.Graph, node: ir.Node, place: Input, weights: NDArray[np.float32]) -> None:
    """Read W or R from int8; a column that keeps a state stays float32.

    Its numbers are far larger than weights: with them, the others of a row would round to 0.
    """
    shape = weights.shape
    still = still_column(weights) if place == Input.W else None
    if still is not None:
        weights = weights[..., :-1]
    numbers, scale = quantize_full_range(weights, (0, 2))
    builder = NodeBuilder(graph, node, f"{node.name}_{place.name}_")
    given = (
        builder.constant("int8", numbers),
        builder.constant("scale", scale),
        builder.constant("zero", np.zeros(scale.shape, np.int8)),
    )
    value = builder.op("DequantizeLinear", *given, name="float32", axis=1)
    if still is not None:
        value = builder.op("Concat", value, builder.constant("still", still), name="held", axis=2)
    value.shape, value.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
    node.replace_input_with(place, value)
