"""Patterns: what in a graph some runtime cannot run, and which nodes have it.

Nothing here knows any runtime; `runtime_refusals` says which runtime lacks what.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal

import onnx_ir as ir

from edgernn.export.ir.dataflow import ancestors
from edgernn.export.ir.gelu import halved_erf
from edgernn.export.ir.recurrent_operators import (
    OPERATORS,
    Input,
    direction_of,
    directions_of,
    input_of,
    kind_of,
)
from edgernn.export.ir.shapes import shape_of

__all__ = ["all_nodes", "find_patterns", "node_label"]

_NEWEST_IR_VERSION = 13


def find_patterns(model: ir.Model) -> dict[str, str]:
    """Return the patterns in a graph: name → the nodes that have it, or the file's version."""
    found: dict[str, dict[str, list[str]]] = {}
    for node in all_nodes(model):
        for name, (operators, matches) in _PATTERNS.items():
            is_operator = operators is None or (node.op_type in operators and not node.domain)
            if is_operator and matches(node):
                nodes = found.setdefault(name, {}).setdefault(node.op_type, [])
                nodes.append(f"`{node_label(node)}`")
    patterns = {
        name: " and ".join(f"{operator} {', '.join(nodes)}" for operator, nodes in by_type.items())
        for name, by_type in found.items()
    }
    if model.ir_version > _NEWEST_IR_VERSION:
        patterns["IR version"] = f"IR version {model.ir_version}"
    return patterns


def node_label(node: ir.Node) -> str:
    """Return the name of `node`, or that of its first output where it has none."""
    return node.name or next((value.name for value in node.outputs if value.name), "") or "?"


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of `model`, of the bodies in it and of its functions."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _has_lengths(node: ir.Node) -> bool:
    return input_of(node, Input.SEQUENCE_LENS) is not None


def _stateless_batch(node: ir.Node) -> int | Literal["dynamic"] | None:
    """Return the batch of a node that lacks an initial state, None where it has all of them.

    It is `dynamic` where it is unknown as well.
    """
    if all(input_of(node, place) for place in kind_of(node).initial_states):
        return None
    shape = shape_of(node.inputs[Input.X])
    size = shape[1 - node.attributes.get_int("layout", 0)] if shape and len(shape) == 3 else None
    return size if isinstance(size, int) else "dynamic"


def _has_dynamic_lengths(node: ir.Node) -> bool:
    """Return whether a node has `sequence_lens` and an axis without a constant size."""
    x = node.inputs[Input.X]
    is_static = x is not None and x.shape is not None and x.shape.is_static()
    return _has_lengths(node) and not is_static


def _activations(node: ir.Node) -> list[str]:
    return [name.lower() for name in node.attributes.get_strings("activations", ())]


def _has_other_activations(node: ir.Node) -> bool:
    names, default = _activations(node), [name.lower() for name in kind_of(node).activations]
    return bool(names) and names not in (default, default * len(directions_of(node)))


def _differs_by_direction(node: ir.Node) -> bool:
    names = _activations(node)
    half = len(names) // 2
    return direction_of(node) == "bidirectional" and names[:half] != names[half:]


def _is_float64(node: ir.Node) -> bool:
    weights = node.inputs[Input.W]
    return weights is not None and weights.dtype == ir.DataType.DOUBLE


def _sources(node: ir.Node) -> set[str]:
    """Return the operators that make the weights of a recurrent node, if any."""
    weights = [node.inputs[place] for place in (Input.W, Input.R)]
    values = set[ir.Value]().union(*(ancestors(one) for one in weights if one is not None))
    return {node.op_type for node in (value.producer() for value in values) if node is not None}


def _is_unpacked(node: ir.Node) -> bool:
    """Return whether the weights of a recurrent node are unpacked from blocks of integers."""
    return {"Cast", "Sub", "Mul"} <= _sources(node)


def _is_dequantized_in_products(node: ir.Node) -> bool:
    """Return whether a recurrent node has int8 weights in a graph that quantizes data too."""
    graph = node.graph
    operators = {one.op_type for one in graph} if graph is not None else set()
    return "QuantizeLinear" in operators and "DequantizeLinear" in _sources(node)


def _is_other_microsoft(node: ir.Node) -> bool:
    is_four = node.op_type == "MatMulNBits" and node.attributes.get_int("bits", 4) == 4
    return node.domain == "com.microsoft" and not is_four


_PATTERNS: Mapping[str, tuple[Collection[str] | None, Callable[[ir.Node], bool]]] = {
    "sequence_lens": (OPERATORS, _has_lengths),
    "sequence_lens, dynamic": (OPERATORS, _has_dynamic_lengths),
    "reverse": (OPERATORS, lambda node: direction_of(node) == "reverse"),
    "layout=1": (OPERATORS, lambda node: node.attributes.get_int("layout", 0) == 1),
    "no LSTM bias": (["LSTM"], lambda node: input_of(node, Input.B) is None),
    "no initial state": (OPERATORS, lambda node: _stateless_batch(node) == "dynamic"),
    "no GRU initial state": (["GRU"], lambda node: _stateless_batch(node) == "dynamic"),
    "no LSTM initial state, fixed batch": (
        ["LSTM"],
        lambda node: _stateless_batch(node) not in ("dynamic", 0, 1, None),
    ),
    "linear_before_reset=0": (
        ["GRU"],
        lambda node: node.attributes.get_int("linear_before_reset", 0) == 0,
    ),
    "clip": (OPERATORS, lambda node: "clip" in node.attributes),
    "LSTM or GRU clip": (["LSTM", "GRU"], lambda node: "clip" in node.attributes),
    "input_forget": (["LSTM"], lambda node: node.attributes.get_int("input_forget", 0) == 1),
    "activations": (OPERATORS, _has_other_activations),
    "LSTM activations": (["LSTM"], _has_other_activations),
    "GRU activations named": (["GRU"], lambda node: "activations" in node.attributes),
    "directions differ": (OPERATORS, _differs_by_direction),
    "LSTM, GRU or RNN in float64": (OPERATORS, _is_float64),
    "LSTM or GRU in float64": (["LSTM", "GRU"], _is_float64),
    **{f"{name} in float64": ([name], _is_float64) for name in ("LSTM", "GRU")},
    **{name: ([name], lambda node: True) for name in ("RNN", "Scan", "Loop", "If")},
    "GELU, halved first": (None, lambda node: halved_erf(node) is not None),
    "unpacked weights": (OPERATORS, _is_unpacked),
    "int8 weights beside QuantizeLinear": (["LSTM", "GRU"], _is_dequantized_in_products),
    "MatMulInteger": (["MatMulInteger"], lambda node: True),
    "com.microsoft": (None, lambda node: node.domain == "com.microsoft"),
    "com.microsoft, but MatMulNBits of 4 bits": (None, _is_other_microsoft),
}
"""Name of a pattern → operators of ONNX's own domain, None for all, and what holds of the node."""
