"""Forms: what in a graph some runtime cannot take, and the search for each.

Nothing here knows any runtime; `edgernn.export.analysis.runtimes` says who lacks what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import onnx_ir as ir

from edgernn.export.ir.gelu import halved_erf
from edgernn.export.ir.recurrent_operators import (
    OPERATORS,
    Input,
    direction_of,
    directions_of,
    input_of,
    kind_of,
)

__all__ = ["FORMS", "all_nodes", "label"]


def _nodes(holds: Callable[[ir.Node], bool]) -> Callable[[ir.Model], str]:
    """Return a search for nodes that says which were found, or nothing."""

    def find(model: ir.Model) -> str:
        found: dict[str, list[str]] = {}
        for node in all_nodes(model):
            if holds(node):
                found.setdefault(node.op_type, []).append(f"`{label(node)}`")
        return " and ".join(f"{op} {', '.join(names)}" for op, names in found.items())

    return find


def label(node: ir.Node) -> str:
    """Return the name of `node`, or that of its first output where it has none."""
    return node.name or next((value.name for value in node.outputs if value.name), "") or "?"


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of `model`, of the bodies in it and of its functions."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _op(*ops: str) -> Callable[[ir.Node], bool]:
    return lambda node: node.domain == "" and node.op_type in ops


def _recurrent(holds: Callable[[ir.Node], bool], *kinds: str) -> Callable[[ir.Node], bool]:
    is_kind = _op(*(kinds or OPERATORS))
    return lambda node: is_kind(node) and holds(node)


def _has_input(node: ir.Node, place: int) -> bool:
    return input_of(node, place) is not None


def _lacks_initial_state(node: ir.Node) -> bool:
    return not all(_has_input(node, place) for place in kind_of(node).initial_states)


def _batch(node: ir.Node) -> int | None:
    """Return the fixed batch of `node`, or None where it is dynamic or unknown."""
    value = node.inputs[0]
    if value is None or value.shape is None or len(value.shape) != 3:
        return None
    size = value.shape[1 - node.attributes.get_int("layout", 0)]
    return size if isinstance(size, int) else None


def _is_stateless(node: ir.Node) -> bool:
    """Return whether `node` lacks an initial state while its batch is dynamic."""
    return _lacks_initial_state(node) and _batch(node) is None


def _is_stateless_and_fixed(node: ir.Node) -> bool:
    """Return whether `node` lacks an initial state while its batch is fixed above 1."""
    return _lacks_initial_state(node) and (_batch(node) or 0) > 1


def _is_dynamic(node: ir.Node) -> bool:
    value = node.inputs[0]
    return value is None or value.shape is None or not value.shape.is_static()


def _default_activations(node: ir.Node) -> list[str]:
    return [name.lower() for name in kind_of(node).activations]


def _activations(node: ir.Node) -> list[str]:
    names = node.attributes.get_strings("activations", ())
    return [name.lower() for name in names] or _default_activations(node)


def _names_activations(node: ir.Node) -> bool:
    return "activations" in node.attributes


def _has_other_activations(node: ir.Node) -> bool:
    default = _default_activations(node)
    return _activations(node) not in (default, default * len(directions_of(node)))


def _differs_by_direction(node: ir.Node) -> bool:
    names = _activations(node)
    if direction_of(node) != "bidirectional" or not _names_activations(node):
        return False
    half = len(names) // 2
    return names[:half] != names[half:]


def _is_float64(node: ir.Node) -> bool:
    weights = node.inputs[Input.W]
    return weights is not None and weights.dtype == ir.DataType.DOUBLE


FORMS: Mapping[str, Callable[[ir.Model], str]] = {
    "sequence_lens": _nodes(_recurrent(lambda node: _has_input(node, Input.SEQUENCE_LENS))),
    "sequence_lens, dynamic": _nodes(
        _recurrent(lambda node: _has_input(node, Input.SEQUENCE_LENS) and _is_dynamic(node))
    ),
    "reverse": _nodes(_recurrent(lambda node: direction_of(node) == "reverse")),
    "layout=1": _nodes(_recurrent(lambda node: node.attributes.get_int("layout", 0) == 1)),
    "no LSTM bias": _nodes(_recurrent(lambda node: not _has_input(node, Input.B), "LSTM")),
    "no initial state": _nodes(_recurrent(_is_stateless)),
    "no GRU initial state": _nodes(_recurrent(_is_stateless, "GRU")),
    "no LSTM initial state, fixed batch": _nodes(_recurrent(_is_stateless_and_fixed, "LSTM")),
    "linear_before_reset=0": _nodes(
        _recurrent(lambda node: node.attributes.get_int("linear_before_reset", 0) == 0, "GRU")
    ),
    "clip": _nodes(_recurrent(lambda node: "clip" in node.attributes)),
    "LSTM or GRU clip": _nodes(_recurrent(lambda node: "clip" in node.attributes, "LSTM", "GRU")),
    "input_forget": _nodes(
        _recurrent(lambda node: node.attributes.get_int("input_forget", 0) == 1, "LSTM")
    ),
    "activations": _nodes(_recurrent(_has_other_activations)),
    "LSTM activations": _nodes(_recurrent(_has_other_activations, "LSTM")),
    "GRU activations named": _nodes(
        _recurrent(lambda node: "activations" in node.attributes, "GRU")
    ),
    "directions differ": _nodes(_recurrent(_differs_by_direction)),
    "LSTM, GRU or RNN in float64": _nodes(_recurrent(_is_float64)),
    "LSTM or GRU in float64": _nodes(_recurrent(_is_float64, "LSTM", "GRU")),
    "LSTM in float64": _nodes(_recurrent(_is_float64, "LSTM")),
    "GRU in float64": _nodes(_recurrent(_is_float64, "GRU")),
    "RNN": _nodes(_op("RNN")),
    "Scan": _nodes(_op("Scan")),
    "Loop": _nodes(_op("Loop")),
    "If": _nodes(_op("If")),
    "GELU, halved first": _nodes(lambda node: halved_erf(node) is not None),
    "com.microsoft": _nodes(lambda node: node.domain == "com.microsoft"),
    "IR version": lambda model: f"IR version {model.ir_version}" if model.ir_version > 13 else "",
}
"""Name of a form → a search that returns where it stands in a graph, or nothing."""
