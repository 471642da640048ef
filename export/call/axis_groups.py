"""Which axes of a model's inputs share a size, perhaps because they are one axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Set
from dataclasses import dataclass

from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import ForwardRun

__all__ = ["Axis", "AxisGroups", "is_feature"]

Axis = tuple[str, int]
"""The path of a tensor and the place of an axis in it."""

_MOST = 64


@dataclass(frozen=True)
class AxisGroups:
    """Sets of axes that may have to change together, judged by one run of the model.

    No set leaves the sequences of one input as many as they were while it gives another input more,
    as far as the recurrent calls tell which axes count them: such a call of a native operator may
    read beyond its input.

    Attributes:
        example: The call.
        batch: The number of sequences of its recurrent calls; None where there are no calls.
        steps: The numbers of steps of its recurrent calls.
        state_axes: Path of a tensor that is the state of a call → the axis that counts sequences.
    """

    example: ExampleCall
    batch: int | None
    steps: Set[int]
    state_axes: dict[str, int]

    @classmethod
    def of(cls, example: ExampleCall, run: ForwardRun) -> AxisGroups:
        """Return the groups of an example that did what `run` says."""
        states = {tuple(state.shape) for call in run.calls for state in call.states}
        batches = {call.sizes[1] for call in run.calls}
        state_axes = {
            leaf.path: leaf.tensor.dim() - 2
            for leaf in example.tensors
            if tuple(leaf.tensor.shape) in states
            and leaf.tensor.dim() > 1
            and (holds_state(leaf.path) or leaf.tensor.dim() == 3)
            and leaf.tensor.shape[-2] in batches
            and not any(leaf.tensor.shape == call.x.shape for call in run.calls)
        }
        cells = sum(call.is_cell for call in run.calls)
        steps = {cells if call.is_cell else call.sizes[0] for call in run.calls}
        return cls(example, batches.pop() if len(batches) == 1 else None, steps, state_axes)

    def with_axis(self, leaf: ArgumentTensor, axis: int, done: Set[Axis]) -> Iterator[list[Axis]]:
        """Yield sets of one axis and at most one of equal size of every other tensor, large first.

        Args:
            leaf: The tensor of the one axis.
            axis: Its place.
            done: Axes that belong to other sets.
        """
        size = leaf.tensor.shape[axis]
        counts = axis == self.state_axes.get(leaf.path, axis)
        sequences = counts and size == self.batch and not is_feature(leaf, axis)
        telling = sequences and size not in self.steps
        choices: list[list[Axis | None]] = [[(leaf.path, axis)]]
        for other in self.example.tensors:
            if other.path == leaf.path:
                continue
            equal: list[Axis | None] = [
                (other.path, place)
                for place, length in enumerate(other.tensor.shape)
                if length == size
                and (other.path, place) not in done
                and (place == self.state_axes.get(other.path, place)) == counts
            ]
            equal.sort(key=lambda one: one is not None and one[1] != axis)
            sure = size > 1 or leaf.path in self.state_axes
            counted = any(one is not None and not is_feature(other, one[1]) for one in equal)
            must = other.path in self.state_axes or (sure and counted)
            choices.append(equal if telling and must and equal else [*equal, None])
        groups = [[one for one in group if one] for group in itertools.product(*choices)]
        yield from sorted(groups, key=len, reverse=True)[:_MOST]


def is_feature(leaf: ArgumentTensor, axis: int) -> bool:
    """Return whether an axis may hold the features of an entry: the last one of real numbers."""
    last = leaf.tensor.dim() - 1
    return leaf.tensor.is_floating_point() and axis == last > 0
