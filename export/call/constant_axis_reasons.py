"""Why an axis takes one size only, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.axis_probe import (
    Axis,
    AxisProbe,
    RankError,
    effect_of,
    gives_rows_over_time,
    is_feature,
)
from edgernn.export.call.example_call import ExampleCall
from edgernn.option_names import option
from edgernn.untrusted_text import first_line

__all__ = ["StepsError", "check_batch", "constant_note", "unrequested_notes", "why_constant"]


def constant_note(
    probe: AxisProbe, symbol: str | None, axes: Sequence[Axis], error: Exception, beside: str = ""
) -> str:
    """Return the note that axes are the constant that they are, and the error at other sizes.

    `symbol` is the name that they would have, `beside` says in words at which sizes of other axes.
    """
    path, axis = axes[0]
    reason = first_line(error)
    name = f" ({symbol})" if symbol else ""
    constant = f"Axis {axis} of `{path}`{name} is the constant {probe.size(axes[0])}: "
    if isinstance(error, RankError):
        return f"{constant}at other sizes {reason.replace('it', probe.model.noun, 1)}."
    where = f"at other sizes {beside}".strip()
    return f"{constant}{probe.model.noun} itself fails {where} ({reason})."


def why_constant(probe: AxisProbe, named: ExampleCall, states: Collection[str]) -> Iterator[str]:
    """Explain why axes of sequences, of steps and of entries that are neither are constants.

    Sizes that a parameter has, such as numbers of channels, need no explanation.
    """
    sizes = named.sizes
    wanted = {BATCH: {call.sizes[1] for call in probe.run.calls}} if BATCH not in sizes else {}
    if SEQUENCE not in sizes:
        wanted[SEQUENCE] = {call.sizes[0] for call in probe.run.calls} - {1}
    module = getattr(probe.model, "module", None)
    fixed = {size for p in module.parameters() for size in p.shape} if module is not None else None
    for leaf, given in zip(named.tensors, probe.example.tensors, strict=True):
        if leaf.path in states or holds_state(leaf.path):
            continue
        for axis, size in enumerate(given.tensor.shape):
            if isinstance(leaf.shape[axis], str) or is_feature(given, axis):
                continue
            symbol = next((one for one, counts in wanted.items() if size in counts), None)
            if symbol is None and (fixed is None or size == 1 or size in fixed):
                continue
            axes = next(probe.groups(given, axis, set()))
            error = probe.failure(axes, ranks=False)
            if error is not None:
                wanted.pop(symbol or "", None)
                yield constant_note(probe, symbol, axes, error)


def check_batch(symbol: str, axes: Sequence[Axis], error: RankError) -> None:
    """Refuse to choose a number of steps for a forward whose result's rank depends on it."""
    if symbol != BATCH:
        path, axis = axes[0]
        raise StepsError(
            f"Axis {axis} of `{path}` ({symbol}) cannot be dynamic: at other sizes forward "
            f"{str(error)[3:]}, as squeeze() without an axis does. Name the axis that it drops, "
            "such as squeeze(-1), or give example tensors of the size that the graph is to have."
        )


class StepsError(UnsupportedModelError):
    """When the rank of a result depends on a number of steps that nobody chose."""


def unrequested_notes(
    probe: AxisProbe,
    groups: Sequence[tuple[str, list[Axis]]],
    states: Collection[str],
    guessed: bool,
) -> Iterator[str | None]:
    """Yield for each set of axes why it stays constant although nothing fixes it, or None.

    `groups` are the names and the axes that may be dynamic; for the others see `find_dynamic_axes`.
    """
    others = {one for _, tied in groups for one in tied}
    state_shapes = {tensor.shape for tensor in probe.run.results.values()}
    state_shapes |= {state.shape for call in probe.run.calls for state in call.states}
    states = {*states} | {
        leaf.path
        for leaf in probe.leaves.values()
        if holds_state(leaf.path) and leaf.tensor.shape in state_shapes
    }
    over_time = dict(groups).get(SEQUENCE)
    for symbol, axes in groups:
        path, axis = axes[0]
        leaf = probe.leaves[path]
        constant = f"Axis {axis} of `{path}` is the constant {probe.size(axes[0])}"
        state = next((one for one, _ in axes if one in states), None)
        image = (path, axis - 1) in others and leaf.tensor.dim() > 3
        if symbol in (BATCH, SEQUENCE):
            yield None
        elif over_time is not None and (rows := _rows_of_state(probe, axes, over_time)):
            shape = (*leaf.shape[:axis], SEQUENCE, *leaf.shape[axis + 1 :])
            spec = option("inputs", [str(replace(leaf, shape=shape))])
            yield (
                f"{constant}, as in the example: a layer over time has a row of its state for each "
                "entry, and of a state only the batch may be dynamic."
                + (f" Where it is the axis of time, name it: {spec}." if rows == "steps" else "")
            )
        elif state is not None:
            yield (
                f"{constant}, as in the example: `{state}` is a state, of which only the batch may "
                "be dynamic."
            )
        elif not is_feature(leaf, axis) or image:
            yield None
        else:
            what = "which is a guess" if guessed else "as in the example"
            shape = (*leaf.shape[:axis], "features", *leaf.shape[axis + 1 :])
            spec = str(replace(leaf, shape=shape))
            yield (
                f"{constant}, {what}: no parameter fixes it. Give another number, or a name to "
                f"leave it open, in {option('inputs', [spec])}."
            )


def _rows_of_state(probe: AxisProbe, axes: Sequence[Axis], over_time: Sequence[Axis]) -> str:
    """Return what larger `axes` give layers where one over time runs more sequences: else nothing.

    It is `rows`, or `steps` where a layer runs more steps too.
    """
    along, steps = probe.resized_runs(axes), probe.resized_runs(over_time)
    if isinstance(along, Exception) or isinstance(steps, Exception):
        return ""
    if not gives_rows_over_time(probe.run, along, steps):
        return ""
    return "steps" if effect_of(probe.run, along)[0] else "rows"
