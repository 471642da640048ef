"""A loop over time as one call, which `RecurrentCallMode` sees like that of a recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

__all__ = ["LoopOperands", "TimeLoop", "run_loop"]

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class LoopOperands:
    """What a loop is called with.

    Attributes:
        sequences: What each iteration takes one step of.
        states: What the first iteration starts from.
        constants: What is the same for all iterations.
    """

    sequences: Tensors
    states: Tensors
    constants: Tensors


class TimeLoop(nn.Module):
    """Runs a body once for each step.

    Args:
        body: Takes a step of each sequence, the states and the constants; returns the next states
            and what is to be collected.
        axes: For each sequence the axis of its steps; at least one.
        states: The number of states.
        along: The name of the axis of steps.
        lag: How many fewer steps are run than that axis has.
        backward: Whether it starts at the last step of a sequence.
    """

    def __init__(
        self,
        body: nn.Module,
        axes: Sequence[int],
        states: int,
        along: str,
        lag: int,
        backward: bool,
    ) -> None:
        super().__init__()
        self.body = body
        self.axes = tuple(axes)
        self.states = states
        self.along = along
        self.lag = lag
        self.backward = backward

    def forward(self, *values: torch.Tensor) -> Tensors:
        """Return the states after the last step, then each collected result, (steps, …)."""
        first, last = len(self.axes), len(self.axes) + self.states
        operands = LoopOperands(values[:first], values[first:last], values[last:])
        with torch._C.DisableTorchFunction():
            after = self.results(operands)[: self.states]
        states = tuple(map(_expand_state, operands.states, after))
        return run_loop(self, replace(operands, states=states))

    def results(self, operands: LoopOperands) -> Tensors:
        """Return what an iteration gives, of the right shapes and dtypes, but not the values."""
        along = zip(operands.sequences, self.axes, strict=True)
        now = [one.new_zeros([*one.shape[:axis], *one.shape[axis + 1 :]]) for one, axis in along]
        return self.step(operands, now)

    def step(self, operands: LoopOperands, now: Sequence[torch.Tensor]) -> Tensors:
        """Return what one iteration gives: the next states and what is to be collected.

        `now` is the step of each sequence.
        """
        results: Tensors = self.body(*now, *operands.states, *operands.constants)
        return results


def run_loop(loop: TimeLoop, operands: LoopOperands) -> Tensors:
    """Run a loop; see `TimeLoop.forward`."""
    tensors = (*operands.sequences, *operands.states, *operands.constants)
    if has_torch_function(tensors):
        results: Tensors = handle_torch_function(run_loop, tensors, loop, operands)
        return results
    states = operands.states
    collected: list[Tensors] = []
    for place in range(operands.sequences[0].shape[loop.axes[0]]):
        now = [x.select(axis, place) for x, axis in zip(operands.sequences, loop.axes, strict=True)]
        results = loop.step(replace(operands, states=states), now)
        states = results[: loop.states]
        collected.append(results[loop.states :])
    if not collected:
        kept = loop.results(operands)[loop.states :]
        return (*states, *(one.new_zeros((0, *one.shape)) for one in kept))
    return (*states, *map(torch.stack, zip(*collected, strict=True)))


def _expand_state(state: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Expand a state that is shared by all sequences, or lacks leading axes, as it comes back."""
    new = after.dim() - state.dim()
    lone = [
        isinstance(one, int) and one == 1 and not (isinstance(size, int) and size == 1)
        for one, size in zip(state.shape, after.shape[max(new, 0) :], strict=False)
    ]
    return state.expand(after.shape) if any(lone) or new > 0 else state
