"""Which recurrent layer of a sequence graph is the first to differ from its reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.recurrent_operators import is_recurrent
from edgernn.export.proof.graph_runs import Arrays, session_of
from edgernn.export.proof.port_adapter import Dialect
from edgernn.report import scaled_difference

__all__ = ["first_difference"]


def first_difference(
    path: str,
    dialect: Dialect,
    data: Arrays,
    states: Arrays,
    expected: Sequence[NDArray[Any]],
    tolerance: float,
) -> str:
    """Say where a sequence graph leaves its reference, or nothing where that cannot be told.

    Args:
        path: The graph's file.
        dialect: From the reference's ports to the graph's.
        data: Data by port name.
        states: States by name.
        expected: What the reference's recurrent calls gave out, in order: (sequence, batch,
            features) or batch first.
        tolerance: What a layer may differ by.
    """
    model = ir.load(path)
    layers: dict[str, ir.Value] = {}
    for node in model.graph:
        if is_recurrent(node) and node.name:
            layers[re.sub(r"_l\d+$", "", node.name)] = node.outputs[0]
    if not expected or len(layers) != len(expected):
        return ""
    model.graph.outputs.extend(y for y in layers.values() if y not in model.graph.outputs)
    serialized = ir.serde.serialize_model(model).SerializeToString()
    inner = [y.name or "" for y in layers.values()]
    got, _ = dialect.run(session_of("sequence", dialect.written, serialized, inner))(data, states)
    for (name, y), wanted in zip(layers.items(), expected, strict=True):
        flat = got[y.name or ""].transpose(0, 2, 1, 3)
        flat = flat.reshape(*flat.shape[:2], -1)
        gap = min(scaled_difference(one, wanted) for one in (flat, flat.swapaxes(0, 1)))
        if not gap <= tolerance:
            return (
                f"The first layer to differ is `{name}`, {tuple(np.shape(wanted))}, by {gap:.1e}."
            )
    return "All recurrent layers agree; what follows them differs."
