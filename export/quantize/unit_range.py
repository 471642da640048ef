"""Values that fill the range from -1 to 1: the state of a GRU or of an RNN with tanh.

    h' = tanh(…)                    within ±1
    h' = n + z * (h - n)            within ±1 where n and h are, because 0 ≤ z ≤ 1

Such a value is quantized with a constant scale. The state of an LSTM, o * tanh(c), is within ±1 too
but often far smaller: its rows are measured in each step, which keeps two more bits of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import onnx_ir as ir

from edgernn.contract import State
from edgernn.export.ir.node_builder import constant_of, producer_of
from edgernn.export.ir.operator_kinds import moved_inputs, movement_of
from edgernn.export.ir.recurrent_operators import Input, input_of, is_recurrent, kind_of

__all__ = ["UnitRange", "largest_state"]


class UnitRange:
    """The values of one model that fill ±1; ask with `in`.

    Args:
        model: The model.
        states: Its states. One with a learned initial value beyond ±1 is not in the range.
    """

    def __init__(self, model: ir.Model, states: Collection[State]) -> None:
        outputs = {port.name: port for port in model.graph.outputs}
        nexts = {
            one.input: outputs[one.output]
            for one in states
            if one.output in outputs and (one.initial is None or np.abs(one.initial).max() <= 1)
        }
        self._carried: dict[ir.Value, list[ir.Value]] = {
            port: [nexts[port.name]] for port in model.graph.inputs if port.name in nexts
        }
        for node in model.graph.all_nodes():
            if node.op_type == "Scan":
                body = node.attributes["body"].as_graph()
                for place, port in enumerate(body.inputs[: _state_count(node)]):
                    self._carried[port] = _given([node.inputs[place], body.outputs[place]])

    def __contains__(self, value: ir.Value) -> bool:
        """Return whether a value is in the range if what starts a state is."""
        seen: set[ir.Value] = set()
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                sources = self._sources(one)
                if sources is None:
                    return False
                waiting += sources
        return True

    def _sources(self, value: ir.Value) -> list[ir.Value] | None:
        """Return the values that must be in the range for this one to be, or None if it is not."""
        constant = constant_of(value)
        if constant is not None:
            return [] if constant.size and np.abs(constant).max() <= 1 else None
        if value in self._carried:
            return self._carried[value]
        node = value.producer()
        if node is None:
            return None
        if movement_of(node) is not None:
            return moved_inputs(node)
        if node.domain:
            return None
        if node.op_type == "Scan":
            return _of_scan(node, value)
        if is_recurrent(node):
            return _of_layer(node)
        if node.op_type == "Where":
            return _given(node.inputs[1:])
        if node.op_type == "Add":
            return _mixed(node)
        return [] if node.op_type == "Tanh" else None


def largest_state(models: Iterable[ir.Model]) -> float:
    """Return the largest magnitude of states that graphs take as they are: 1 where quantized."""
    operators = {node.op_type for model in models for node in model.graph.all_nodes()}
    return 1.0 if "QuantizeLinear" in operators else math.inf


def _given(values: Sequence[ir.Value | None]) -> list[ir.Value]:
    return [value for value in values if value is not None]


def _state_count(scan: ir.Node) -> int:
    return len(scan.inputs) - scan.attributes["num_scan_inputs"].as_int()


def _of_scan(scan: ir.Node, value: ir.Value) -> list[ir.Value]:
    place, body = scan.outputs.index(value), scan.attributes["body"].as_graph()
    starts = [scan.inputs[place]] if place < _state_count(scan) else []
    return _given([*starts, body.outputs[place]])


def _of_layer(node: ir.Node) -> list[ir.Value] | None:
    """Return what h of a GRU, or of an RNN with tanh, starts from."""
    activations = node.attributes.get_strings("activations", list(kind_of(node).activations))
    if len(kind_of(node).states) > 1 or activations[-1] != "Tanh":
        return None
    return _given([input_of(node, Input.INITIAL_H)])


def _mixed(add: ir.Node) -> list[ir.Value] | None:
    """Return n and h of n + z * (h - n), where z is a sigmoid."""
    for n, product in (add.inputs, reversed(add.inputs)):
        multiply = producer_of(product, "Mul")
        if multiply is None:
            continue
        for z, difference in (multiply.inputs, reversed(multiply.inputs)):
            subtract = producer_of(difference, "Sub")
            if subtract is not None and subtract.inputs[1] is n and _is_sigmoid(z):
                return _given([n, subtract.inputs[0]])
    return None


def _is_sigmoid(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    while node is not None and movement_of(node) is not None and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and (node.domain, node.op_type) == ("", "Sigmoid")
