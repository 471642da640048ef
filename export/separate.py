"""Products of data and state together, written as one product of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from edgernn.export.fold import dependents
from edgernn.export.shapes import dims
from edgernn.export.wiring import Wiring, constant_of

__all__ = ["separate_products"]


def separate_products(graph: ir.Graph, states: Collection[str]) -> None:
    """Multiply data and states apart, in place, where one product takes both side by side.

    W·[x, h] + b becomes Wh·h + (Wx·x + b), so that the inner product can run on all steps at once.

    Args:
        graph: A one-step graph.
        states: The names of its state inputs.
    """
    stateful = dependents(graph, [port for port in graph.inputs if port.name in states])
    for gemm in tuple(graph):
        plain = gemm.op_type in ("Gemm", "MatMul") and set(gemm.attributes) <= {"transB"}
        concat = gemm.inputs[0].producer() if plain and gemm.inputs[0] is not None else None
        if concat is None or concat.op_type != "Concat" or len(dims(gemm.inputs[0]) or ()) != 2:
            continue
        widths = [(dims(value) or (None,))[-1] for value in concat.inputs]
        weights = constant_of(gemm.inputs[1])
        if weights is None or not all(isinstance(width, int) for width in widths):
            continue
        if gemm.attributes.get_int("transB", 0):
            weights = weights.T
        bounds = np.cumsum([width for width in widths if isinstance(width, int)])
        rows = np.split(np.arange(len(weights)), bounds[:-1])
        parts = list(zip(concat.inputs, rows, strict=True))
        moving = [part for part in parts if part[0] in stateful]
        still = [part for part in parts if part[0] not in stateful]
        if moving and still and concat.attributes.get_int("axis", 0) in (1, -1):
            _separate(graph, gemm, weights, [still, moving])


_Part = tuple[ir.Value | None, "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"]


def _separate(
    graph: ir.Graph,
    gemm: ir.Node,
    weights: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    groups: Sequence[Sequence[_Part]],
) -> None:
    old = gemm.outputs[0]
    wire = Wiring(graph, gemm, f"{old.name}_")
    total = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    for name, group in zip(("x", "h"), groups, strict=True):
        values = [value for value, _ in group if value is not None]
        operand = values[0]
        if len(values) > 1:
            operand = wire.op("Concat", *values, name=f"{name}_all", axis=1)
            operand.type = values[0].type
        own = wire.constant(f"{name}_weights", weights[np.concatenate([rows for _, rows in group])])
        summand = [] if total is None else [total]
        total = wire.op("Gemm", operand, own, *summand, name=f"{name}_sum")
        total.type, total.shape = old.type, old.shape
    assert total is not None
    name, old.name = old.name, None
    total.name = name
    ir.convenience.replace_all_uses_with(old, total, replace_graph_outputs=True)
    graph.remove(gemm, safe=True)
