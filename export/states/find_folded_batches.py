"""Which states have several rows for each sequence, and in which order, in a model that can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.row_orders import constant_batch, find_row_orders
from edgernn.export.ir.call_nodes import row_axis
from edgernn.export.states.folded_batch import FoldedBatch, folded_axis
from edgernn.export.states.node_states import NodeState

__all__ = ["find_folded_batches"]


def find_folded_batches(
    final_states: Callable[[ExampleCall], Any], example: ExampleCall, states: Sequence[NodeState]
) -> dict[tuple[int, int], FoldedBatch]:
    """Return how the rows of states are folded that have several for each sequence.

    Args:
        final_states: Runs the model; returns the final states of each of its recurrent calls.
        example: A call of it.
        states: The states of its graph.

    Returns:
        The places of a call and of one of its states → how its rows are folded.
    """
    batch = None if BATCH in example.sizes else constant_batch(example)
    places = {
        (one.call, one.index): folded_axis(one.final, row_axis(one.node), batch) for one in states
    }
    axes = {place: axis for place, axis in places.items() if axis is not None}
    orders = find_row_orders(final_states, example, axes) if axes else {}
    return {place: FoldedBatch(axes[place], *order) for place, order in orders.items()}
