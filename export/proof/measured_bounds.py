"""How far a sequence graph is the model: bounds that torch notes, tried on both sides.

Some of torch's bounds are its own: it assumes that no dynamic size is 1, nor any size computed from
one. Where the graph goes on to agree with the model beyond a bound, that is none. A bound that
torch does not see is a table of positions: forward fails for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import onnx_ir as ir

from edgernn.contract import SEQUENCE
from edgernn.export.proof.graph_runs import Run, session_of
from edgernn.export.proof.parity import Prover
from edgernn.export.proof.samples import Samples
from edgernn.export.proof.trials import LONGEST
from edgernn.export.trace.bounds import Bounds

__all__ = ["measured_bounds"]

_GATHERS = ("Gather", "GatherElements", "GatherND")
_COUNTED = ("Range", "CumSum")
_FURTHER = 4


def measured_bounds(samples: Samples, noted: Bounds, model: ir.Model) -> Bounds:
    """Return the bounds that a sequence graph really has.

    Args:
        samples: The model and what it is run on, under a contract that has the bounds noted.
        noted: The bounds that torch notes.
        model: The sequence graph.
    """
    counts_positions = _looks_up_positions(model.graph)
    if not (noted.most or noted.least or counts_positions):
        return noted
    extent = _Extent(samples, model)
    most = {axis: extent.most(axis, size) for axis, size in noted.most.items()}
    least = {axis: extent.least(axis, size) for axis, size in noted.least.items()}
    if SEQUENCE not in most and counts_positions:
        most[SEQUENCE] = extent.most_taken(SEQUENCE)
    return replace(
        noted,
        most={axis: size for axis, size in most.items() if size},
        least={axis: size for axis, size in least.items() if size > 1},
    )


class _Extent:
    """Tries a graph and the model at sizes beyond bounds."""

    def __init__(self, samples: Samples, model: ir.Model) -> None:
        bound = samples.contract
        self._sizes = {axis: bound.within(axis, size) for axis, size in samples.traced.items()}
        self._free = Prover(samples.under(replace(bound, most={}, least={})))
        self._run: Run = session_of(
            "sequence", bound, ir.serde.serialize_model(model).SerializeToString()
        )

    def least(self, axis: str, size: int) -> int:
        """Return from which size of an axis on the graph is the model."""
        while size > 1 and self._agrees(axis, size - 1):
            size -= 1
        return size

    def most(self, axis: str, size: int) -> int:
        """Return up to which size of an axis the graph is the model; 0 where there is no bound."""
        taken = self.most_taken(axis)
        end = taken or max(LONGEST, size + 1)
        beyond = {size + 1, size + 2, size + 7, 2 * size + 1, end}
        if all(self._agrees(axis, other) for other in sorted(beyond) if other <= end):
            return taken
        last = size + _FURTHER
        while size < last and self._agrees(axis, size + 1):
            size += 1
        return size

    def most_taken(self, axis: str) -> int:
        """Return up to which size of an axis the model runs; 0 where it runs over 1,000."""
        if self._free.runs({**self._sizes, axis: LONGEST}):
            return 0
        return _last(
            self._sizes[axis], LONGEST, lambda n: self._free.runs({**self._sizes, axis: n})
        )

    def _agrees(self, axis: str, size: int) -> bool:
        return self._free.agrees(self._run, {**self._sizes, axis: size})


def _last(low: int, high: int, is_so: Callable[[int], bool]) -> int:
    """Return the last size at which something is so, between one at which it is and one not."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_so(middle) else (low, middle)
    return low


def _looks_up_positions(graph: ir.Graph) -> bool:
    """Return whether entries of a table are taken by numbers that the graph counts."""
    return any(
        one.op_type in _COUNTED
        for node in graph.all_nodes()
        if node.op_type in _GATHERS and _constant(node.inputs[0])
        for one in _before(node.inputs[1])
    )


def _constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def _before(value: ir.Value | None) -> Iterator[ir.Node]:
    """Yield the nodes that a value is computed by."""
    seen: set[ir.Node] = set()
    left = [value]
    while left:
        one = left.pop()
        node = None if one is None else one.producer()
        if node is not None and node not in seen:
            seen.add(node)
            left += node.inputs
            yield node
