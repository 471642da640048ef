"""The first recurrent layer of a sequence graph whose output differs from the reference's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from edgernn.export.ir.onnx_session import Arrays
from edgernn.export.ir.recurrent_operators import is_recurrent
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.report import scaled_difference

__all__ = ["describe_first_differing_layer"]


def describe_first_differing_layer(
    path: str,
    adapter: PortAdapter,
    data: Arrays,
    states: Arrays,
    expected: Sequence[NDArray[Any]],
    tolerance: float,
) -> str:
    """Return a sentence with the first layer that differs, or nothing where layers do not match up.

    `expected` are the outputs of the reference's recurrent calls, in order: (sequence, batch,
    directions · size) or (batch, sequence, directions · size).
    """
    model = ir.load(path)
    layers: dict[str, ir.Value] = {}
    for node in model.graph:
        if is_recurrent(node) and node.name:
            layers[re.sub(r"_l\d+$", "", node.name)] = node.outputs[0]
    if not expected or len(layers) != len(expected):
        return ""
    model.graph.outputs.extend(y for y in layers.values() if y not in model.graph.outputs)
    names = [y.name or "" for y in layers.values()]
    run = adapter.adapt(graph_function("sequence", adapter.exported, model, names))
    outputs, _ = run(data, states)
    for (layer, y), reference in zip(layers.items(), expected, strict=True):
        merged = outputs[y.name or ""].transpose(0, 2, 1, 3)  # (sequence, batch, directions, size)
        merged = merged.reshape(*merged.shape[:2], -1)
        gap = min(scaled_difference(got, reference) for got in (merged, merged.swapaxes(0, 1)))
        if not gap <= tolerance:
            return f"The first layer to differ is `{layer}`, {reference.shape}, by {gap:.1e}."
    return "All recurrent layers agree; what follows them differs."
