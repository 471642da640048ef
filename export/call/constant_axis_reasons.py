"""Why an axis takes one size only, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.axis_groups import (
    Axis,
    AxisGroups,
    RankError,
    failure_of,
    is_feature,
    size_at,
)
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun
from edgernn.untrusted_text import first_line

__all__ = ["StepsError", "check_batch", "constant_note", "unrequested_notes", "why_constant"]


def constant_note(
    reference: ExampleRunner,
    symbol: str | None,
    example: ExampleCall,
    axes: Sequence[Axis],
    error: Exception,
    beside: str = "",
) -> str:
    """Return the note that axes are the constant that they are, and the error at other sizes.

    `symbol` is the name that they would have, `beside` says in words at which sizes of other axes.
    """
    path, axis = axes[0]
    reason = first_line(error)
    name = f" ({symbol})" if symbol else ""
    constant = f"Axis {axis} of `{path}`{name} is the constant {size_at(example, axes[0])}: "
    if isinstance(error, RankError):
        return f"{constant}at other sizes {reason.replace('it', reference.noun, 1)}."
    where = f"at other sizes {beside}".strip()
    return f"{constant}{reference.noun} itself fails {where} ({reason})."


def why_constant(
    reference: ExampleRunner,
    example: ExampleCall,
    run: ForwardRun,
    named: ExampleCall,
    states: Collection[str],
) -> Iterator[str]:
    """Explain why axes of sequences, of steps and of entries that are neither are constants.

    Sizes that a parameter has, such as numbers of channels, need no explanation.
    """
    sizes = named.sizes
    wanted = {BATCH: {call.sizes[1] for call in run.calls}} if BATCH not in sizes else {}
    if SEQUENCE not in sizes:
        wanted[SEQUENCE] = {call.sizes[0] for call in run.calls} - {1}
    module = getattr(reference, "module", None)
    fixed = {size for p in module.parameters() for size in p.shape} if module is not None else None
    possible = AxisGroups.of(example, run)
    for leaf, given in zip(named.tensors, example.tensors, strict=True):
        if leaf.path in states or holds_state(leaf.path):
            continue
        for axis, size in enumerate(given.tensor.shape):
            if isinstance(leaf.shape[axis], str) or is_feature(given, axis):
                continue
            symbol = next((one for one, counts in wanted.items() if size in counts), None)
            if symbol is None and (fixed is None or size == 1 or size in fixed):
                continue
            axes = next(possible.with_axis(given, axis, set()))
            error = failure_of(reference, example, axes)
            if error is not None:
                wanted.pop(symbol or "", None)
                yield constant_note(reference, symbol, example, axes, error)


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
    example: ExampleCall,
    run: ForwardRun,
    groups: Sequence[tuple[str, list[Axis]]],
    states: Collection[str],
    guessed: bool,
) -> Iterator[str | None]:
    """Yield for each group why its axes stay constant although nothing fixes them, or None.

    Args:
        example: The call.
        run: What the model did.
        groups: The names and the axes that may be dynamic.
        states: Paths of the arguments that the user says are states.
        guessed: Whether the sizes of the example are nobody's choice.
    """
    leaves = {leaf.path: leaf for leaf in example.tensors}
    results = {tuple(tensor.shape) for tensor in run.results.values()}
    results |= {tuple(state.shape) for call in run.calls for state in call.states}
    grouped = {one for _, tied in groups for one in tied}

    def is_state(path: str) -> bool:
        comes_back = tuple(leaves[path].tensor.shape) in results
        return path in states or (comes_back and holds_state(path))

    for symbol, axes in groups:
        path, axis = axes[0]
        leaf = leaves[path]
        constant = f"Axis {axis} of `{path}` is the constant {leaf.tensor.shape[axis]}"
        state = next((one for one, _ in axes if is_state(one)), None)
        image = (path, axis - 1) in grouped and leaf.tensor.dim() > 3
        if symbol in (BATCH, SEQUENCE):
            yield None
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
            yield (
                f"{constant}, {what}: no parameter fixes it. Give another number, or a name to "
                f'leave it open, in --input "{replace(leaf, shape=shape)}".'
            )
