"""Ifs of an ONNX file, each replaced by the branch that the file takes.

    before   If(sequence > 1): a = Conv(x) else: a = x
    after    a = Conv(x)                                  where all runs took the first branch

The branch is found by running the file. From then on it must be that one: at a size at which the
file takes the other branch, it counts as failing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir
import onnx_ir.passes.common as passes

from edgernn.export.analysis.graph_patterns import node_label
from edgernn.export.foreign.instrumented_file import evaluate
from edgernn.export.foreign.onnx_file import OnnxFile, ResolvedIf
from edgernn.export.foreign.recurrent_nodes import name_finals, recurrent_nodes_inside
from edgernn.export.ir.dataflow import ancestors, depends_on_data
from edgernn.export.ir.node_builder import splice
from edgernn.export.ir.onnx_session import Arrays

__all__ = ["must_be_resolved", "resolve_ifs"]


def must_be_resolved(node: ir.Node) -> bool:
    """Return whether an If holds recurrent nodes, or its condition depends on no input."""
    condition = node.inputs[0]
    assert condition is not None
    fixed = not any(value.is_graph_input() for value in ancestors(condition))
    return fixed or any(recurrent_nodes_inside(node))


def resolve_ifs(
    file: OnnxFile, runs: Sequence[Arrays], chosen: Callable[[ir.Node], bool]
) -> OnnxFile:
    """Return the file without the Ifs that take the same branch in all runs.

    An If whose condition depends on the numbers of an input, not only on their shape, is kept, and
    so is one that is not `chosen`, which is asked about those in a branch that is taken, too.
    """
    model = file.model.clone()
    resolved: list[tuple[ir.Value, bool, str]] = []
    kept: set[ir.Node] = set()
    while found := [
        node for node in _ifs_of_sizes(model.graph) if chosen(node) and node not in kept
    ]:
        conditions = [node.inputs[0] for node in found if node.inputs[0] is not None]
        values = [evaluate(model, conditions, feeds, f"`{file.path}`") for feeds in runs]
        for place, node in enumerate(found):
            taken = {bool(one[place].all()) for one in values}
            if len(taken) > 1:
                kept.add(node)
                continue
            (then,) = taken
            resolved.append((conditions[place], then, node_label(node)))
            _take(model.graph, node, "then_branch" if then else "else_branch")
        passes.NameFixPass()(model)
    if not resolved:
        return file
    name_finals(model.graph)
    resolved_ifs = tuple(ResolvedIf(value.name or "", then, name) for value, then, name in resolved)
    return replace(file, model=model, resolved_ifs=(*file.resolved_ifs, *resolved_ifs))


def _ifs_of_sizes(graph: ir.Graph) -> list[ir.Node]:
    """Return the Ifs whose condition depends on no numbers of an input."""
    return [
        node
        for node in graph
        if node.op_type == "If"
        and node.inputs[0] is not None
        and not depends_on_data(node.inputs[0])
    ]


def _take(graph: ir.Graph, node: ir.Node, name: str) -> None:
    """Replace an If by one of its branches."""
    branch = node.attributes[name].as_graph()
    results = splice(graph, node, branch, [], suffix=f"_{node_label(node)}")
    for old, result in zip(node.outputs, results, strict=True):
        copy = ir.node("Identity", [result])
        copy.outputs[0].name, copy.outputs[0].type = old.name, result.type
        old.name = None
        ir.convenience.replace_all_uses_with(old, copy.outputs[0], replace_graph_outputs=True)
        graph.insert_before(node, copy)
    graph.remove(node, safe=True)
