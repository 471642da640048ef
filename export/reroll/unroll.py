"""A forward as a graph of torch's operators at one set of sizes, its loops over time unrolled.

Weights that forward computes from others, as those of weight norms and weight drop, are weights:

    v, g = parameters                        weight_computed = v * (g / norm(v))      once
    lstm(x, h, v * (g / norm(v)))      →     lstm(x, h, weight_computed)
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn
from torch._export.utils import _is_preservable_cia_op
from torch.export import Dim
from torch.utils import _pytree as pytree

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.recurrent_calls import RecurrentCallMode
from edgernn.export.ir.fold_constants import silence_exporters
from edgernn.export.ir.recurrent_operators import LAYER_FUNCTIONS
from edgernn.export.reroll.normalize import normalize
from edgernn.export.reroll.torch_operators import CELLS, FILLED, SELECT, SYM_SIZE, shape_of
from edgernn.export.trace.export_forward import export_forward
from edgernn.export.trace.exporter_tables import kept_tables

__all__ = ["unroll"]

_LAYERS = tuple(getattr(torch.ops.aten, name).input for name in LAYER_FUNCTIONS)


def unroll(
    module: nn.Module, example: ExampleCall, constant: Collection[str] = ()
) -> fx.GraphModule:
    """Return the operators of `module` at the sizes of `example`, normalized.

    The placeholders are the leaves of the example, in order. The sizes of `constant` axes are
    integers; others are symbols where forward does not look at their size.
    """
    with silence_exporters(), preserve_state(module), kept_tables():
        program = export_forward(
            module,
            example,
            mode=lambda _: RecurrentCallMode(lambda call, proceed: proceed(call.states)),
            dim=lambda axis: Dim.STATIC if axis in constant else Dim.AUTO,
        )
        if not all(map(_is_final, program.graph.nodes)):
            program = program.run_decompositions({torch.ops.aten.one_hot.default: _one_hot})
        root: Any = program.module(check_guards=False)
    _compute_weights(root, root.graph)
    normalize(root.graph, [size for symbol, size in example.sizes.items() if symbol != BATCH])
    return fx.GraphModule(root, _input_independent_first(root.graph))


def _is_final(node: fx.Node) -> bool:
    """Return whether a decomposition leaves a node as it is; it takes as long as the export.

    It replaces operators that write in place, and composite ones whose results are views.
    """
    op: Any = node.target
    if node.op != "call_function":
        return True
    if not isinstance(node.target, torch._ops.OpOverload):
        return bool(op.__module__ == "_operator")
    if op is torch.ops.aten.one_hot.default or op._schema.is_mutable:
        return False
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    is_composite = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), composite)
    return not is_composite or _is_preservable_cia_op(op)


def _one_hot(ids: torch.Tensor, classes: int) -> torch.Tensor:
    """Return torch's `one_hot`, which itself takes no number of classes that follows a size."""
    return (ids.unsqueeze(-1) == torch.arange(classes)).long()


def _input_independent_first(graph: fx.Graph) -> fx.Graph:
    """Return the graph with weights, sizes and what is made from sizes first, each thing once.

    Zeros made in the first iteration of a loop are then made before it.
    """
    ordered = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    unique: dict[str, fx.Node] = {}
    first = [*graph.find_nodes(op="placeholder"), *graph.find_nodes(op="get_attr")]
    for node in [*first, *(node for node in _made_from_sizes(graph) if node not in first)]:
        arguments = fx.map_arg((node.args, node.kwargs), copies.__getitem__)
        key = node.name if node.op != "call_function" else f"{node.target}{arguments}"
        if key not in unique:
            unique[key] = ordered.node_copy(node, copies.__getitem__)
        copies[node] = unique[key]
    for node in graph.nodes:
        if node not in copies:
            copies[node] = ordered.node_copy(node, copies.__getitem__)
    return ordered


def _made_from_sizes(graph: fx.Graph) -> list[fx.Node]:
    """Return the weights, the sizes, and what is made from sizes only, in order."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        step = node.target is SELECT and node.args[0].target in FILLED
        tensors = [one for one in node.all_input_nodes if shape_of(one) is not None]
        made = node.op == "call_function" and (step or not tensors)
        made = made and all(operand in found for operand in node.all_input_nodes)
        if node.op == "get_attr" or node.target is SYM_SIZE or (made and not _is_random(node)):
            found[node] = None
    return list(found)


def _compute_weights(root: nn.Module, graph: fx.Graph) -> None:
    """Make the weights of cells and layers that are computed from others buffers of `root`."""
    expressions = _weight_expressions(graph)
    computed: dict[int, fx.Node] = {}
    for node in list(graph.nodes):
        # what a recurrent operator takes after its input and its states
        recurrent = node.target in CELLS or node.target in _LAYERS
        for weight in pytree.tree_leaves(node.args[2:]) if recurrent else ():
            expression = expressions.get(weight)
            if expression is not None and weight.op != "get_attr":
                if expression not in computed:
                    computed[expression] = _add_buffer(root, weight)
                node.replace_input_with(weight, computed[expression])
    graph.eliminate_dead_code()


def _weight_expressions(graph: fx.Graph) -> dict[fx.Node, int]:
    """Return what is computed from weights only, equal expressions with the same number."""
    found: dict[fx.Node, int] = {}
    numbers: dict[str, int] = {}
    for node in graph.nodes:
        operands = node.all_input_nodes
        constant = bool(operands) and all(operand in found for operand in operands)
        if node.op == "get_attr":
            key = str(node.target)
        elif node.op == "call_function" and constant and not _is_random(node):
            key = f"{node.target}{fx.map_arg((node.args, node.kwargs), found.__getitem__)}"
        else:
            continue
        found[node] = numbers.setdefault(key, len(numbers))
    return found


def _add_buffer(root: nn.Module, weight: fx.Node) -> fx.Node:
    """Return a node that names the value of `weight`, a new buffer beside its first weight."""
    source = weight
    while source.op != "get_attr":
        source = source.all_input_nodes[0]
    path, _, name = str(source.target).rpartition(".")
    owner = root.get_submodule(path)
    name = f"{name}_computed"
    while hasattr(owner, name):
        name += "_"
    owner.register_buffer(name, _evaluate(root, weight))
    with weight.graph.inserting_after(source):
        node = weight.graph.get_attr(f"{path}.{name}".strip("."))
    node.meta["val"] = weight.meta["val"]
    return node


def _evaluate(root: nn.Module, node: fx.Node) -> Any:
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(root)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda one: _evaluate(root, one))
    target: Any = node.target
    with torch.no_grad():
        return target(*args, **kwargs)


def _is_random(node: fx.Node) -> bool:
    """Return whether an operator gives other numbers at every call."""
    if node.target is torch.ops.aten.dropout.default:
        return bool(node.args[2])
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
