"""Follow states through a one-step graph, where they are moved about but not changed.

A state port may hold several states at once (layers, or h and c) or one in another shape. Giving
every element a number and following the numbers shows which value of the next step starts as which
value of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgernn.export.ir.movement_operators import Movement, moved_inputs, movement_of
from edgernn.export.lift.batching_rules import MixedBatchError, declared_shape

__all__ = ["ChangedStateError", "carried_pairs", "check_feedback", "is_movement"]

_PROBE_BATCH = 2

Numbers = NDArray[Any]


class ChangedStateError(Exception):
    """When a state is more than moved about where it had to be."""


def is_movement(node: ir.Node) -> bool:
    """Return whether `node` only moves elements, each to places of which there are no more."""
    return movement_of(node) not in (None, Movement.REPEATS)


def check_feedback(
    graph: ir.Graph,
    states: Mapping[ir.Value, ir.Value],
    pairs: Iterable[tuple[ir.Value, ir.Value]],
) -> None:
    """Prove that for each pair the first value starts a step as the second ended the last one.

    Args:
        graph: A one-step graph.
        states: Its state inputs, each with its state output.
        pairs: Values computed from the state inputs by movement, and values from which the state
            outputs are computed by movement; of one shape each.

    Raises:
        ChangedStateError: One does not, or something other than movement lies on the way.
    """
    pairs = list(pairs)
    ends = _numbered([after for _, after in pairs])
    starts = _fed_back(graph, states, ends)
    for before, after in pairs:
        if not np.array_equal(_follow(before, starts), ends[after]):
            raise ChangedStateError(
                f"`{before.name}` does not start a step as `{after.name}` ended the last one"
            )


def carried_pairs(
    graph: ir.Graph, states: Mapping[ir.Value, ir.Value]
) -> list[tuple[ir.Value, ir.Value]]:
    """Return what really passes from step to step, as the operators that change it see it.

    That is a list of pairs: a value that starts a step, and the value that it is at the end. It
    holds the ports themselves where nothing nearer to the operators can be proven.
    """
    try:
        ends = _numbered(_ends(states.values()))
        fed = _fed_back(graph, states, ends)
        pairs = [(start, _same(_follow(start, fed), ends)) for start in _starts(graph, states)]
    except (ChangedStateError, MixedBatchError):
        return list(states.items())
    return pairs if {after for _, after in pairs} == set(ends) else list(states.items())


def _ends(outputs: Iterable[ir.Value]) -> list[ir.Value]:
    """Return the values that `outputs` are moved from."""
    found: list[ir.Value] = []
    for value in outputs:
        node = value.producer()
        if node is None or not is_movement(node):
            found.append(value)
        else:
            found += _ends(moved_inputs(node))
    return list(dict.fromkeys(found))


def _starts(graph: ir.Graph, states: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
    """Return the values moved from state inputs alone that something else is computed from."""
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


def _same(numbers: Numbers, ends: Mapping[ir.Value, Numbers]) -> ir.Value:
    for value, own in ends.items():
        if np.array_equal(numbers, own):
            return value
    raise ChangedStateError("a state is put together anew in every step")


def _probe(value: ir.Value) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else _PROBE_BATCH for size in declared_shape(value))


def _numbered(values: Iterable[ir.Value]) -> dict[ir.Value, Numbers]:
    """Give every element of `values` a number, from 1 on; no number twice."""
    numbered: dict[ir.Value, Numbers] = {}
    count = 1
    for value in values:
        shape = _probe(value)
        last = count + int(np.prod(shape))
        numbered[value] = np.arange(count, last, dtype=np.int64).reshape(shape)
        count = last
    return numbered


def _fed_back(
    graph: ir.Graph, states: Mapping[ir.Value, ir.Value], ends: Mapping[ir.Value, Numbers]
) -> dict[ir.Value, Numbers]:
    """Return the inputs of the next step: states as `ends` leave them, zeros as data."""
    zeros = {port: np.zeros(_probe(port), np.int64) for port in graph.inputs}
    return zeros | {before: _follow(after, ends) for before, after in states.items()}


def _follow(value: ir.Value, known: Mapping[ir.Value, Numbers]) -> Numbers:
    """Evaluate `value` through movement alone."""
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
        return _follow(operands[0], known).reshape(_probe(value))
    feeds = {str(operand.name): _follow(operand, known) for operand in operands}
    session = ReferenceEvaluator(ir.to_proto(node), opsets={"": 18})
    results: Any = session.run(None, feeds)
    numbers: Numbers = results[value.index() or 0]
    return numbers
