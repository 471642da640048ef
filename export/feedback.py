"""Follow states through a one-step graph, where they are moved about but not changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgernn.export.rows import sizes

__all__ = ["ChangedStateError", "check_feedback", "initial_states", "is_movement"]

MOVEMENT = frozenset(
    ["Concat", "Flatten", "Gather", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"]
)
RECURRENT = {
    ("", "GRU"): (5,),
    ("", "LSTM"): (5, 6),
    ("", "RNN"): (5,),
    ("edgernn", "LSTM"): (5, 6),
}
_PROBE_BATCH = 2


class ChangedStateError(Exception):
    """When a state is more than moved between its port and a recurrent node."""


def is_movement(node: ir.Node) -> bool:
    """Return whether `node` only moves elements about."""
    return node.domain == "" and node.op_type in MOVEMENT


def initial_states(node: ir.Node) -> list[ir.Value]:
    """Return the initial states of a recurrent node: h, and c of an LSTM.

    Raises:
        ChangedStateError: One is not given, so that the node starts every step from zero.
    """
    states = [
        node.inputs[index] if index < len(node.inputs) else None
        for index in RECURRENT[node.domain, node.op_type]
    ]
    given = [state for state in states if state is not None]
    if len(given) != len(states):
        raise ChangedStateError(f"`{node.op_type}` `{node.name}` starts every step from zero")
    return given


def check_feedback(graph: ir.Graph, states: Mapping[ir.Value, ir.Value]) -> None:
    """Prove that every recurrent node starts a step with what it ended the last one with.

    Every element of every final state gets a number of its own; followed through the state outputs,
    fed to the state inputs and followed on, each must arrive where it came from.

    Raises:
        ChangedStateError: One does not, or something other than movement lies on the way.
    """
    nodes = [node for node in graph if (node.domain, node.op_type) in RECURRENT]
    finals: dict[ir.Value, NDArray[Any]] = {}
    starts: list[tuple[ir.Value, NDArray[Any]]] = []
    count = 1
    for node in nodes:
        for index, start in enumerate(initial_states(node)):
            final = node.outputs[index + 1]
            shape = [size if isinstance(size, int) else _PROBE_BATCH for size in sizes(start)]
            numbers = np.arange(count, count + np.prod(shape), dtype=np.int64).reshape(shape)
            count += numbers.size
            finals[final] = numbers
            if index == 0:
                finals[node.outputs[0]] = numbers[None]
            starts.append((start, numbers))
    fed = {before: _follow(after, finals) for before, after in states.items()}
    fed |= {
        port: np.zeros([s if isinstance(s, int) else _PROBE_BATCH for s in sizes(port)], np.int64)
        for port in graph.inputs
        if port not in fed
    }
    for start, numbers in starts:
        if not np.array_equal(_follow(start, fed), numbers):
            raise ChangedStateError(f"the state that arrives at `{start.name}` is not its own")


def _follow(value: ir.Value, known: Mapping[ir.Value, NDArray[Any]]) -> NDArray[Any]:
    """Evaluate `value` through movement alone."""
    found = known.get(value)
    if found is not None:
        return found
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is not None:
        return tensor.numpy()
    node = value.producer()
    if node is None or not is_movement(node):
        what = f"computed by `{node.op_type}`" if node else "not moved from a recurrent node"
        raise ChangedStateError(f"state `{value.name}` is {what}")
    feeds = {i.name: _follow(i, known) for i in node.inputs if i is not None}
    session = ReferenceEvaluator(ir.to_proto(node), opsets={"": 18})
    return session.run(None, feeds)[value.index() or 0]
