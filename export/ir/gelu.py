"""GELU with its products in the order that every runtime takes.

    before   x · (½ · (1 + erf(x / √2)))      as torch's exporter writes it
    after    (x · (1 + erf(x / √2))) · ½

OpenCV, which looks for GELU in a graph, ends the process at the first order. As ½ is a power of
two, no number changes.
"""

from __future__ import annotations

import onnx_ir as ir

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
        last = ir.node("Mul", [result, number])
        last.outputs[0].type, last.outputs[0].shape = result.type, result.shape
        assert isinstance(node.graph, ir.Graph)
        _take_over(node.graph, result, last)
        node.graph.insert_after(node, last)
        if not halved.uses():
            node.graph.remove(scaled, safe=True)


def halved_erf(node: ir.Node) -> tuple[int, ir.Node] | None:
    """Return the input of a product that is ½ · (1 + erf(…)), and the node that computes it."""
    if node.op_type != "Mul":
        return None
    for place, value in enumerate(node.inputs):
        scaled = None if value is None else value.producer()
        if scaled is not None and scaled.op_type == "Mul" and _scales_erf(scaled):
            return place, scaled
    return None


def _scales_erf(scaled: ir.Node) -> bool:
    """Return whether a product is ½ · (… + erf(…))."""
    numbers = [value for value in scaled.inputs if _is_half(value)]
    sums = [value.producer() for value in scaled.inputs if value is not None]
    return len(numbers) == 1 and any(
        sum_ is not None
        and sum_.op_type == "Add"
        and any(value is not None and _made_by(value, "Erf") for value in sum_.inputs)
        for sum_ in sums
    )


def _is_half(value: ir.Value | None) -> bool:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return tensor is not None and tensor.size == 1 and float(tensor.numpy().item()) == 0.5


def _made_by(value: ir.Value, op: str) -> bool:
    node = value.producer()
    return node is not None and node.op_type == op


def _take_over(graph: ir.Graph, old: ir.Value, last: ir.Node) -> None:
    """Replace `old` by the output of `last`, which reads it, everywhere else."""
    new = last.outputs[0]
    for place, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[place] = new
            new.name, old.name = old.name, f"{old.name}_twice"
    for use in tuple(old.uses()):
        if use.node is not last:
            use.node.replace_input_with(use.idx, new)
