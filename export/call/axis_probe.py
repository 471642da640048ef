"""A model at other sizes of some axes of its inputs, and which axes may have to change together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from edgernn.errors import InputError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun

__all__ = ["Axis", "AxisProbe", "RankError", "is_feature"]

Axis = tuple[str, int]
"""The path of a tensor and the place of an axis in it."""

_MOST = 64


@dataclass(frozen=True)
class AxisProbe:
    """A model and what it does at an example call, to compare with what it does at other sizes."""

    model: ExampleRunner
    example: ExampleCall
    run: ForwardRun

    @cached_property
    def leaves(self) -> dict[str, ArgumentTensor]:
        """The tensors of the example by their paths."""
        return {leaf.path: leaf for leaf in self.example.tensors}

    def size(self, axis: Axis) -> int:
        """Return the size of an axis in the example."""
        return self.leaves[axis[0]].tensor.shape[axis[1]]

    def resized_runs(self, axes: Sequence[Axis]) -> list[ForwardRun] | Exception:
        """Run the model at three other sizes of `axes`, one of them 1."""
        size = self.size(axes[0])
        symbol = self.leaves[axes[0][0]].shape[axes[0][1]]
        lengths = self.example.lengths
        # where lengths change with it, it is the batch, whose longest sequence has to stay
        tied = any(path in lengths for path, _ in axes)
        longest = max(int(self.leaves[path].tensor.max()) for path in lengths) if tied else None
        runs: list[ForwardRun] = []
        for other in dict.fromkeys((size + 1, 2 * size + 3, 1)):
            if other == size:
                continue
            sizes = dict.fromkeys(axes, other)
            if isinstance(symbol, str) and self.example.derived_axes:
                try:
                    sizes |= self.example.derived_sizes({symbol: other})
                except InputError:
                    continue
            run = self._run_resized(sizes, longest or other)
            if not isinstance(run, Exception):
                runs.append(run)
            # one that only a window or a norm needs more than one step or sequence for is dynamic
            elif other != 1 or size == 1:
                return run
        return runs

    def _run_resized(self, sizes: Mapping[Axis, int], steps: int) -> ForwardRun | Exception:
        """Run the model with axes at other sizes and lengths that fit, or else the same lengths."""
        example = self.example.with_axes(sizes)
        try:
            return self.model(example.with_lengths(steps))
        except Exception:
            try:
                return self.model(example)
            except Exception as error:
                return error

    def failure(self, axes: Sequence[Axis], ranks: bool = True) -> Exception | None:
        """Return why axes take no other sizes, None if they do.

        If `ranks`, results of another rank than in the example are a failure.
        """
        runs = self.resized_runs(axes)
        if isinstance(runs, Exception):
            return runs
        for path, tensor in self.run.results.items() if ranks else ():
            if {one.results[path].dim() for one in runs if path in one.results} - {tensor.dim()}:
                return RankError(path)
        return None

    def tied_axes(
        self, leaf: ArgumentTensor, axis: int, done: Set[Axis]
    ) -> tuple[list[Axis], list[ForwardRun]]:
        """Return the first of `groups` that takes other sizes and the runs at these, if any."""
        for group in self.groups(leaf, axis, done):
            runs = self.resized_runs(group)
            if not isinstance(runs, Exception):
                return group, runs
        return [], []

    @cached_property
    def _batch(self) -> int | None:
        """The number of sequences of the recurrent calls; None where there is no such number."""
        batches = {call.sizes[1] for call in self.run.calls}
        return batches.pop() if len(batches) == 1 else None

    @cached_property
    def _steps(self) -> set[int]:
        """The numbers of steps of the recurrent calls."""
        cells = sum(call.is_cell for call in self.run.calls)
        return {cells if call.is_cell else call.sizes[0] for call in self.run.calls}

    @cached_property
    def _state_axes(self) -> dict[str, int]:
        """Path of a tensor that is the state of a call → the axis that counts sequences."""
        calls = self.run.calls
        states = {tuple(state.shape) for call in calls for state in call.states}
        batches = {call.sizes[1] for call in calls}
        return {
            path: leaf.tensor.dim() - 2
            for path, leaf in self.leaves.items()
            if tuple(leaf.tensor.shape) in states
            and leaf.tensor.dim() > 1
            and (holds_state(path) or leaf.tensor.dim() == 3)
            and leaf.tensor.shape[-2] in batches
            and not any(leaf.tensor.shape == call.x.shape for call in calls)
        }

    def groups(self, leaf: ArgumentTensor, axis: int, done: Set[Axis]) -> Iterator[list[Axis]]:
        """Yield sets of one axis and at most one of equal size of every other tensor, large first.

        No set leaves the sequences of one input as many as they were while it gives another input
        more, as far as the recurrent calls tell which axes count them: such a call of a native
        operator may read beyond its input. Axes that are `done` belong to other sets.
        """
        size = leaf.tensor.shape[axis]
        counts = axis == self._state_axes.get(leaf.path, axis)
        sequences = counts and size == self._batch and not is_feature(leaf, axis)
        telling = sequences and size not in self._steps
        choices: list[list[Axis | None]] = [[(leaf.path, axis)]]
        for path, other in self.leaves.items():
            if path == leaf.path:
                continue
            places = [
                place
                for place, length in enumerate(other.tensor.shape)
                if length == size
                and (path, place) not in done
                and (place == self._state_axes.get(path, place)) == counts
            ]
            equal = [(path, place) for place in sorted(places, key=lambda place: place != axis)]
            sure = size > 1 or leaf.path in self._state_axes
            counted = any(not is_feature(other, place) for place in places)
            must = path in self._state_axes or (sure and counted)
            choices.append([*equal] if telling and must and equal else [*equal, None])
        groups = [[one for one in group if one] for group in itertools.product(*choices)]
        yield from sorted(groups, key=len, reverse=True)[:_MOST]


def is_feature(leaf: ArgumentTensor, axis: int) -> bool:
    """Return whether an axis may hold the features of an entry: the last one of real numbers."""
    last = leaf.tensor.dim() - 1
    return leaf.tensor.is_floating_point() and axis == last > 0


class RankError(Exception):
    """When a result, given by its path, has another rank where an axis has another size."""

    def __str__(self) -> str:
        path = self.args[0]
        return f"it returns {f'`{path}`' if path else 'its result'} with another number of axes"
