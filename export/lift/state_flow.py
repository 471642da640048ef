"""Follow states through a step graph as long as their elements are only moved.

A state port may hold several states at once (layers, or h and c), or one in another shape. To see
what starts the next step as what, every element at the end of a step gets a number, and the numbers
are moved as the graph moves elements:

    h_out = Concat(a, b)        a = [1 2], b = [3 4]    → h_out = [1 2 3 4]
    p, q = Split(h_in)          h_in = [1 2 3 4]        → p = [1 2], q = [3 4]

So p starts a step as a ended the step before, and q as b did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgernn.axis_sizes import evaluate_size
from edgernn.contract import BATCH
from edgernn.export.ir.dataflow import upstream
from edgernn.export.ir.operator_kinds import Movement, moved_inputs, movement_of
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape

__all__ = ["ChangedStateError", "carried_pairs", "check_feedback", "is_movement"]

_PROBE_BATCH = 2

Numbers = NDArray[Any]


class ChangedStateError(Exception):
    """When the elements of a state are changed, not only moved, where they must not be."""


def is_movement(node: ir.Node) -> bool:
    """Return whether `node` only moves elements, without repeating any."""
    return movement_of(node) not in (None, Movement.REPEATS)


def check_feedback(
    graph: ir.Graph, states: Mapping[ir.Value, ir.Value], pairs: Iterable[tuple[ir.Value, ir.Value]]
) -> None:
    """Check that for each pair the first value at step t + 1 equals the second at step t.

    Args:
        graph: A step graph.
        states: Its state inputs, each with its state output.
        pairs: Values moved from the inputs, each with one of the same shape moved to the outputs.

    Raises:
        ChangedStateError: A pair does not, or elements are changed on the way.
    """
    pairs = list(pairs)
    ends = _numbered([after for _, after in pairs])
    inputs = _next_inputs(graph, states, ends)
    for before, after in pairs:
        if not np.array_equal(_follow(before, inputs), ends[after]):
            raise ChangedStateError(
                f"`{before.name}` does not start a step as `{after.name}` ended the last one"
            )


def carried_pairs(
    graph: ir.Graph, states: Mapping[ir.Value, ir.Value]
) -> list[tuple[ir.Value, ir.Value]]:
    """Return what passes from step to step, as the operators that change it read and write it.

    Each pair is a value that starts a step and the one that the next step starts with. They are
    the ports themselves, `states`, where nothing nearer to the operators can be shown.
    """
    try:
        ends = _numbered(_moved_from(states.values()))
        inputs = _next_inputs(graph, states, ends)
        pairs = [
            (start, _value_with(_follow(start, inputs), ends))
            for start in _first_reads(graph, states)
        ]
    except (ChangedStateError, MixedBatchError):
        return list(states.items())
    return pairs if {after for _, after in pairs} == set(ends) else list(states.items())


def _moved_from(outputs: Iterable[ir.Value]) -> list[ir.Value]:
    """Return the values that `outputs` are moved from."""
    found = (upstream(v, lambda n: moved_inputs(n) if is_movement(n) else None) for v in outputs)
    return list(dict.fromkeys(chain.from_iterable(found)))


def _first_reads(graph: ir.Graph, states: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
    """Return the values that are moved from state inputs alone and that other nodes read."""
    moved = dict.fromkeys(states)
    used: dict[ir.Value, None] = {}
    for node in graph:
        if is_movement(node) and all(value in moved for value in moved_inputs(node)):
            moved.update(dict.fromkeys(node.outputs))
        else:
            used.update(dict.fromkeys(value for value in node.inputs if value in moved))
    results = [value for value in graph.outputs if value not in states.values()]
    used.update(dict.fromkeys(value for value in results if value in moved))
    return list(used)


def _value_with(numbers: Numbers, ends: Mapping[ir.Value, Numbers]) -> ir.Value:
    for value, own in ends.items():
        if np.array_equal(numbers, own):
            return value
    raise ChangedStateError("a state is composed again in every step")


def _probe_shape(value: ir.Value) -> tuple[int, ...]:
    known = {BATCH: _PROBE_BATCH}
    sizes = (evaluate_size(size or "?", known) for size in declared_shape(value))
    return tuple(_PROBE_BATCH if size is None else size for size in sizes)


def _numbered(values: Iterable[ir.Value]) -> dict[ir.Value, Numbers]:
    """Return a number for every element of `values`, from 1 on, no number twice."""
    numbered: dict[ir.Value, Numbers] = {}
    count = 1
    for value in values:
        shape = _probe_shape(value)
        numbered[value] = count + np.arange(prod(shape), dtype=np.int64).reshape(shape)
        count += prod(shape)
    return numbered


def _next_inputs(
    graph: ir.Graph, states: Mapping[ir.Value, ir.Value], ends: Mapping[ir.Value, Numbers]
) -> dict[ir.Value, Numbers]:
    """Return the inputs of the next step: states as they are moved from `ends`, zeros as data."""
    zeros = {port: np.zeros(_probe_shape(port), np.int64) for port in graph.inputs}
    return zeros | {before: _follow(after, ends) for before, after in states.items()}


def _follow(value: ir.Value, known: Mapping[ir.Value, Numbers]) -> Numbers:
    """Return the numbers of `value`, moved from `known` ones."""
    if value in known:
        return known[value]
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is not None:
        return tensor.numpy()
    node = value.producer()
    if node is None or not is_movement(node):
        what = f"computed by `{node.op_type}`" if node else "not carried from step to step"
        raise ChangedStateError(f"state `{value.name}` is {what}")
    operands = [operand for operand in node.inputs if operand is not None]
    if node.op_type == "Reshape" and ir.convenience.get_const_tensor(operands[1]) is None:
        return _follow(operands[0], known).reshape(_probe_shape(value))
    feeds = {str(operand.name): _follow(operand, known) for operand in operands}
    session = ReferenceEvaluator(ir.to_proto(node), opsets={"": 18})
    results: Any = session.run(None, feeds)
    return np.asarray(results[value.index() or 0])
