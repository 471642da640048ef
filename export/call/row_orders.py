"""Which rows of a layer's state belong to which sequence, where a sequence has several of them.

    x.reshape(batch*bins, …)                  all rows of the first sequence, then of the second
    x.transpose(0, 1).reshape(bins*batch, …)  the first row of every sequence, then the second

The model is run again with other numbers in one sequence: its rows are those that change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import run_quietly
from edgernn.export.capture.preserve_state import preserve_state
from edgernn.export.capture.recurrent_calls import RecurrentCallMode, Results

__all__ = ["constant_batch", "final_states_of", "find_row_orders"]

Place = tuple[int, int]
"""The places of a recurrent call and of one of its states."""

_BATCH = 3
"""Sequences in a run where the batch is dynamic."""


def constant_batch(example: ExampleCall) -> int | None:
    """Return the number of sequences where it is constant: the size of their axis beside time."""
    for leaf in example.tensors:
        axis = _constant_axis(leaf)
        if axis is not None:
            return leaf.tensor.shape[axis]
    return None


def find_row_orders(
    final_states: Callable[[ExampleCall], Sequence[Sequence[torch.Tensor]]],
    example: ExampleCall,
    axes: Mapping[Place, int],
) -> dict[Place, tuple[int, int]]:
    """Return how many rows of a sequence are outside of the batch, and how many inside.

    The rows are then an array (outside, batch, inside). A state whose rows are in no such order,
    or do not show it, is left out.

    Args:
        final_states: Runs the model; returns the final states of each of its recurrent calls.
        example: A call of it.
        axes: The axis of each state that has the rows.
    """
    batch = _BATCH if BATCH in example.sizes else constant_batch(example) or 1
    try:
        example = example.resized({BATCH: batch})
        before = final_states(example)
        after = [final_states(_with_other_numbers(example, one)) for one in range(batch)]
    except Exception:
        return {}  # a batch that forward does not take
    orders: dict[Place, tuple[int, int]] = {}
    for (call, index), axis in axes.items():
        changed = [
            _changed_rows(before[call][index], other[call][index], axis)
            for other in after
            if len(other) == len(before)
        ]
        order = _order(changed, batch)
        if order is not None:
            orders[call, index] = order
    return orders


def _constant_axis(leaf: ArgumentTensor) -> int | None:
    """Return the axis of sequences of a tensor of data whose axes of steps is named."""
    if SEQUENCE not in leaf.shape or len(leaf.shape) < 2:
        return None
    return 1 if leaf.shape.index(SEQUENCE) == 0 else 0


def final_states_of(module: nn.Module, example: ExampleCall) -> list[Results]:
    """Return the final states of every recurrent call of a module."""
    finals: list[Results] = []

    def note(call: Any, proceed: Any) -> Results:
        results: Results = proceed(call.states)
        finals.append(tuple(one.clone() for one in results[call.first_state :]))
        return results

    with torch.no_grad(), preserve_state(module), RecurrentCallMode(note):
        run_quietly(module, example)
    return finals


def _with_other_numbers(example: ExampleCall, sequence: int) -> ExampleCall:
    """Return the example with other numbers in one sequence."""
    dynamic = BATCH in example.sizes
    changed: dict[str, torch.Tensor] = {}
    for leaf in example.tensors:
        named = leaf.shape.index(BATCH) if BATCH in leaf.shape else None
        axis = named if dynamic else _constant_axis(leaf)
        if axis is not None:
            changed[leaf.path] = leaf.tensor.clone()
            part = changed[leaf.path].select(axis, sequence)
            other = torch.randn_like(part) if part.is_floating_point() else _reversed(part)
            part.copy_(other)
    return example.with_tensors(changed)


def _reversed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten().flip(0).reshape(tensor.shape)


def _changed_rows(before: torch.Tensor, after: torch.Tensor, axis: int) -> torch.Tensor:
    return (before != after).movedim(axis, 0).flatten(1).any(1)


def _order(changed: Sequence[torch.Tensor], batch: int) -> tuple[int, int] | None:
    """Return the only order in which each sequence has the rows that changed with it."""
    if len(changed) < batch:
        return None
    count = len(changed[0]) // batch
    if batch == 1:
        return 1, count
    orders = [
        (outer, count // outer)
        for outer in range(1, count + 1)
        if count % outer == 0
        and all(_only_of(one, rows, outer, batch) for one, rows in enumerate(changed))
    ]
    return orders[0] if len(orders) == 1 else None


def _only_of(sequence: int, rows: torch.Tensor, outer: int, batch: int) -> bool:
    """Return whether the rows that changed are all of one sequence in an order."""
    by_sequence = rows.reshape(outer, batch, -1).any(0).any(1)
    return by_sequence.nonzero().flatten().tolist() == [sequence]
