"""GELU with its products in the order that every runtime takes.

    before   x · (½ · (1 + erf(x / √2)))      as torch's exporter writes it
    after    (x · (1 + erf(x / √2))) · ½

OpenCV, which looks for GELU in a graph, ends the process at the first order. As ½ is a power of
two, no number changes.
"""

from __future__ import annotations

import onnx_ir as ir

from edgernn.export.ir.node_builder import constant_of, producer_of

__all__ = ["halved_erf", "reorder_gelu"]


def reorder_gelu(model: ir.Model) -> None:
    """Multiply by one half last, in place."""
    for node in model.graph.all_nodes():
        half = halved_erf(node)
        if half is None:
            continue
        place, scaled = half
        halved = scaled.outputs[0]
        number = next(value for value in scaled.inputs if _is_half(value))
        sum_ = next(value for value in scaled.inputs if value is not number)
        node.replace_input_with(place, sum_)
        result = node.outputs[0]
        last = ir.node("Mul", [None, number])
        new = last.outputs[0]
        new.type, new.shape = result.type, result.shape
        if result.is_graph_output():
            new.name, result.name = result.name, f"{result.name}_twice"
        ir.convenience.replace_all_uses_with(result, new, replace_graph_outputs=True)
        last.replace_input_with(0, result)
        assert isinstance(node.graph, ir.Graph)
        node.graph.insert_after(node, last)
        if not halved.uses():
            node.graph.remove(scaled, safe=True)


def halved_erf(node: ir.Node) -> tuple[int, ir.Node] | None:
    """Return the input of a product that is ½ · (1 + erf(…)), and the node that computes it."""
    for place, value in enumerate(node.inputs if node.op_type == "Mul" else ()):
        scaled = producer_of(value, "Mul")
        if scaled is not None and _scales_erf(scaled):
            return place, scaled
    return None


def _scales_erf(scaled: ir.Node) -> bool:
    """Return whether a product is ½ · (… + erf(…))."""
    sums = [sum_ for value in scaled.inputs if (sum_ := producer_of(value, "Add"))]
    has_erf = any(producer_of(value, "Erf") for sum_ in sums for value in sum_.inputs)
    return has_erf and sum(map(_is_half, scaled.inputs)) == 1


def _is_half(value: ir.Value | None) -> bool:
    array = constant_of(value)
    return array is not None and array.size == 1 and array.item() == 0.5
