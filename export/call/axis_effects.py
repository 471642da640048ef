"""How resizing an axis changes recurrent calls and results, and the name that follows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from edgernn.contract import BATCH, SEQUENCE
from edgernn.export.call.axis_probe import Axis, AxisProbe
from edgernn.export.call.forward_run import ForwardRun

__all__ = ["are_steps", "effect_of", "is_causal", "name_axis", "same_results"]


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
