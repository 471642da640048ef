"""Which axes of inputs share a size, perhaps as one axis, and the model at other sizes of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from edgernn.errors import InputError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun

__all__ = [
    "Axis",
    "AxisGroups",
    "RankError",
    "failure_of",
    "first_success",
    "is_feature",
    "resized_runs",
    "size_at",
]

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

        Axes that are done belong to other sets.
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


def resized_runs(
    reference: ExampleRunner, example: ExampleCall, axes: Sequence[Axis]
) -> list[ForwardRun] | Exception:
    """Run forward at three other sizes of `axes`, one of them 1."""
    size = size_at(example, axes[0])
    path, axis = axes[0]
    symbol = example.shapes[path][axis] if path in example.shapes else None
    runs: list[ForwardRun] = []
    for other in dict.fromkeys((size + 1, 2 * size + 3, 1)):
        if other == size:
            continue
        sizes = dict.fromkeys(axes, other)
        if isinstance(symbol, str) and example.derived_axes:
            try:
                sizes |= example.derived_sizes({symbol: other})
            except InputError:
                continue
        changed = example.with_axes(sizes)
        # where lengths change with it, it is the batch, whose longest sequence has to stay
        tied = any(path in example.lengths for path, _ in axes)
        lengths = (leaf.tensor for leaf in example.tensors if leaf.path in example.lengths)
        steps = max((int(one.max()) for one in lengths), default=None) if tied else other
        run = first_success(reference, [changed.with_lengths(steps), changed])
        if not isinstance(run, Exception):
            runs.append(run)
        # the axis is not constant because a window or a norm needs more than one step or sequence
        elif other != 1 or size == 1:
            return run
    return runs


def first_success(
    reference: ExampleRunner, examples: Sequence[ExampleCall]
) -> ForwardRun | Exception:
    """Return the run of the first example that runs, or the last failure."""
    failure: Exception | None = None
    for example in examples:
        try:
            return reference(example)
        except Exception as error:
            failure = error
    assert failure is not None
    return failure


def failure_of(
    reference: ExampleRunner,
    example: ExampleCall,
    axes: Sequence[Axis],
    run: ForwardRun | None = None,
) -> Exception | None:
    """Return why axes take no other sizes, None if they do.

    Where the run of the example is given, other sizes must give its results in the same rank.
    """
    runs = resized_runs(reference, example, axes)
    if isinstance(runs, Exception):
        return runs
    for path, tensor in run.results.items() if run else ():
        ranks = {one.results[path].dim() for one in runs if path in one.results}
        if ranks - {tensor.dim()}:
            return RankError(path)
    return None


class RankError(Exception):
    """When a result, given by its path, has another rank where an axis has another size."""

    def __str__(self) -> str:
        path = self.args[0]
        return f"it returns {f'`{path}`' if path else 'its result'} with another number of axes"


def size_at(example: ExampleCall, axis: Axis) -> int:
    """Return the size of an axis."""
    return next(leaf.tensor for leaf in example.tensors if leaf.path == axis[0]).shape[axis[1]]
