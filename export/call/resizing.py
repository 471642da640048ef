"""A model at other sizes of some axes of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

from edgernn.errors import InputError
from edgernn.export.call.axis_groups import Axis
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun

__all__ = ["RankError", "failure_of", "first_success", "name_at", "resized_runs", "size_at"]


def resized_runs(
    reference: ExampleRunner, example: ExampleCall, axes: Sequence[Axis]
) -> list[ForwardRun] | Exception:
    """Run forward at three other sizes of `axes`, one of them 1."""
    size = size_at(example, axes[0])
    symbol = name_at(example, axes[0])
    runs: list[ForwardRun] = []
    for other in dict.fromkeys((size + 1, 2 * size + 3, 1)):
        if other == size:
            continue
        sizes = dict.fromkeys(axes, other)
        if symbol is not None and example.derived_axes:
            try:
                sizes |= example.derived_sizes({symbol: other})
            except InputError:
                continue
        changed = example.with_axes(sizes)
        # where lengths change with it, it is the batch, whose longest sequence has to stay
        tied = any(path in example.lengths for path, _ in axes)
        steps = _longest(example) if tied else other
        run = first_success(reference, [changed.with_lengths(steps), changed])
        if not isinstance(run, Exception):
            runs.append(run)
        # the axis is not constant because a window or a norm needs more than one step or sequence
        elif other != 1 or size == 1:
            return run
    return runs


def _longest(example: ExampleCall) -> int | None:
    """Return the largest of the lengths of packed sequences."""
    lengths = [leaf.tensor for leaf in example.tensors if leaf.path in example.lengths]
    return max((int(one.max()) for one in lengths), default=None)


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


def name_at(example: ExampleCall, axis: Axis) -> str | None:
    """Return the name of a dynamic axis, or None where it has none."""
    shape = example.shapes.get(axis[0])
    name = None if shape is None else shape[axis[1]]
    return name if isinstance(name, str) else None


def size_at(example: ExampleCall, axis: Axis) -> int:
    """Return the size of an axis."""
    tensors = {leaf.path: leaf.tensor for leaf in example.tensors}
    return tensors[axis[0]].shape[axis[1]]
