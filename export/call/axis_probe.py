"""A model at other sizes of some axes of its inputs, and the names that its axes then get.

Which axes may have to change together, and how that changes recurrent calls and results.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import torch

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import InputError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.example_call import ArgumentTensor, ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun
from edgernn.untrusted_text import first_line

__all__ = [
    "Axis",
    "AxisProbe",
    "RankError",
    "are_steps",
    "axis_name",
    "effect_of",
    "gives_rows_over_time",
    "is_causal",
    "is_feature",
    "name_axis",
    "same_results",
]

_LOG = logging.getLogger("edgernn.export")

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
            _log_run(sizes, run)
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

    def multiple(self, axes: Sequence[Axis]) -> int:
        """Return the number, at least 2, of which an axis takes all larger multiples; 0 for none.

        It is a factor of the size in the example, which is large where forward takes few sizes.
        """
        size = self.size(axes[0])
        for factor in (one for one in range(2, size + 1) if size % one == 0):
            sizes = (size + factor, size + 2 * factor, size + 5 * factor)
            runs = [self._run_resized(dict.fromkeys(axes, other), other) for other in sizes]
            if not any(isinstance(run, Exception) for run in runs):
                return factor
        return 0

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


def _log_run(sizes: Mapping[Axis, int], run: ForwardRun | Exception) -> None:
    place = ", ".join(f"{path}.shape[{axis}] = {size}" for (path, axis), size in sizes.items())
    if isinstance(run, Exception):
        _LOG.debug("forward fails with %s: %s", place, first_line(run))
    else:
        _LOG.debug("forward runs with %s", place)


def is_feature(leaf: ArgumentTensor, axis: int) -> bool:
    """Return whether an axis may hold the features of an entry: the last one of real numbers."""
    last = leaf.tensor.dim() - 1
    return leaf.tensor.is_floating_point() and axis == last > 0


class RankError(Exception):
    """When a result, given by its path, has another rank where an axis has another size."""

    def __str__(self) -> str:
        path = self.args[0]
        return f"it returns {f'`{path}`' if path else 'its result'} with another number of axes"


def effect_of(before: ForwardRun, after: Sequence[ForwardRun]) -> tuple[bool, bool]:
    """Return whether other sizes gave the recurrent calls more steps, and more sequences.

    What forward calls once at all larger sizes is not a step: it may make its state of one sequence
    again for several.
    """
    count, larger = len(before.calls), after[:2]

    def more(run: ForwardRun, place: int) -> bool:
        along = zip(before.calls, run.calls, strict=False)
        return any(a.sizes[place] != b.sizes[place] for a, b in along)

    once = (
        len({run.functions for run in larger}) == 1 < len(larger)
        and count > 0
        and all(len(run.calls) == count and more(run, 1) for run in larger)
    )
    more_steps = any(
        (run.functions != before.functions and not once) or len(run.calls) != count or more(run, 0)
        for run in after
    )
    return more_steps, any(more(run, 1) for run in after)


def gives_rows_over_time(
    before: ForwardRun, along: Sequence[ForwardRun], over_time: Sequence[ForwardRun]
) -> bool:
    """Return whether an axis gives more sequences to a layer whose steps are the sequence.

    Args:
        before: The run of the example.
        along: Runs at other sizes of the axis.
        over_time: Runs at other numbers of steps.
    """

    def changed(runs: Sequence[ForwardRun], place: int) -> set[int]:
        return {
            index
            for run in runs
            for index, (one, other) in enumerate(zip(before.calls, run.calls, strict=False))
            if one.sizes[place] != other.sizes[place]
        }

    cells = any(len(run.calls) != len(before.calls) for run in over_time)
    looped = {index for index, call in enumerate(before.calls) if call.is_cell} if cells else set()
    return bool(changed(along, 1) & (changed(over_time, 0) | looped))


def name_axis(
    before: ForwardRun, after: Sequence[ForwardRun], path: str, axis: int, used: set[str]
) -> str | None:
    """Name an axis by what its size does to the recurrent calls; None if nothing looks at it."""
    more_steps, more_sequences = effect_of(before, after)
    if not (more_steps or more_sequences) and all(same_results(before, run) for run in after):
        return None
    if more_steps and SEQUENCE not in used:
        return SEQUENCE
    if (more_sequences or not before.calls) and not more_steps and BATCH not in used:
        return BATCH
    return axis_name(path, axis)


def axis_name(path: str, axis: int) -> str:
    """Return the name of an axis that is neither of steps nor of sequences."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', path).strip('_')}_dim{axis}"


def are_steps(run: ForwardRun, size: int, larger: ForwardRun, steps: int) -> bool:
    """Return whether recurrent layers run one step, or a loop its calls, for each entry."""
    along = zip(run.calls, larger.calls, strict=False)
    layers = any(a.sizes[0] == size and b.sizes[0] == steps for a, b in along)
    return layers or 0 < len(run.calls) * steps == len(larger.calls) * size


def is_causal(probe: AxisProbe, axes: Sequence[Axis]) -> bool:
    """Return whether a result along an axis depends on the entries so far, and on no later one.

    That makes it the axis of steps of a recurrence without a layer or a loop.
    """
    last = probe.size(axes[0]) - 1
    tensors = {path: probe.leaves[path].tensor for path, _ in axes}
    if last < 1 or not all(tensor.is_floating_point() for tensor in tensors.values()):
        return False
    runs: list[ForwardRun] = []
    for place in (0, last):
        changed = {path: tensor.clone() for path, tensor in tensors.items()}
        for path, axis in axes:
            changed[path].select(axis, place).mul_(-0.5).add_(0.25)
        try:
            runs.append(probe.model(probe.example.with_tensors(changed)))
        except Exception:
            return False
    return any(
        _depends_on_the_past(before, runs[0].results[path], runs[1].results[path], axis)
        for path, before in probe.run.results.items()
        for axis, size in enumerate(before.shape)
        if size == last + 1
    )


def _depends_on_the_past(
    before: torch.Tensor, first: torch.Tensor, last: torch.Tensor, axis: int
) -> bool:
    """Return whether the last entry follows the first one, and no other the last one."""
    end = before.shape[axis] - 1
    if first.shape != before.shape or last.shape != before.shape:
        return False
    follows = not torch.equal(first.select(axis, end), before.select(axis, end))
    own = not torch.equal(last.select(axis, end), before.select(axis, end))
    return follows and own and torch.equal(last.narrow(axis, 0, end), before.narrow(axis, 0, end))


def same_results(one: ForwardRun, other: ForwardRun) -> bool:
    """Return whether two runs returned the same."""
    return all(
        tensor.shape == other.results[path].shape and torch.equal(tensor, other.results[path])
        for path, tensor in one.results.items()
    )
