"""The first layer of a graph that differs from the same layer of the model."""

from __future__ import annotations

import re

import onnx_ir as ir

from edgernn.export.ir.recurrent_operators import is_recurrent
from edgernn.export.proof.comparison_cases import ComparisonCase
from edgernn.export.proof.graph_function import graph_function
from edgernn.export.proof.input_sampler import InputSampler
from edgernn.export.proof.port_adapter import PortAdapter
from edgernn.report import scaled_difference

__all__ = ["find_differing_layer"]


def find_differing_layer(
    sampler: InputSampler,
    graph: str,
    adapter: PortAdapter,
    case: ComparisonCase,
    tolerance: float,
) -> str:
    """Return a sentence with the first layer that differs, or nothing if layers do not match.

    The reference's are (sequence, batch, directions · size) or (batch, sequence, …). Where the
    graph has a hop or a delay, its layers run over other steps than the reference's.

    Args:
        sampler: The model.
        graph: The file of the sequence graph.
        adapter: From the reference's ports to those of the graph.
        case: A whole run that differs.
        tolerance: The largest difference that passes.
    """
    contract, data = sampler.contract, case.data
    if contract.hop > 1 or contract.delays or contract.tails:
        return ""
    states = case.start(sampler)
    given = {name: array for name, array in states.items() if name not in sampler.contexts}
    expected = sampler.reference.layers(sampler.inputs_by_path(data), given)
    model = ir.load(graph)
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
        output = outputs[y.name or ""].transpose(0, 2, 1, 3)
        merged = output.reshape(*output.shape[:2], -1)  # (sequence, batch, directions · size)
        gap = min(scaled_difference(got, reference) for got in (merged, merged.swapaxes(0, 1)))
        if not gap <= tolerance:
            return f"The first layer to differ is `{layer}`, {reference.shape}, by {gap:.1e}."
    return "All recurrent layers agree; what follows them differs."
