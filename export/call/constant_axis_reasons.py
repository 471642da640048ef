"""Why an axis takes one size only, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from edgernn.contract import BATCH, SEQUENCE
from edgernn.errors import UnsupportedModelError
from edgernn.export.call.argument_names import holds_state
from edgernn.export.call.axis_groups import Axis, AxisGroups, is_feature
from edgernn.export.call.example_call import ExampleCall, ExampleRunner, ForwardRun
from edgernn.export.call.resizing import RankError, failure_of, size_at

__all__ = ["StepsError", "check_batch", "constant_note", "why_constant"]


def constant_note(
    reference: ExampleRunner,
    symbol: str | None,
    example: ExampleCall,
    axes: Sequence[Axis],
    error: Exception,
    beside: str = "",
) -> str:
    """Return the note that axes are the constant that they are, and why.

    Args:
        reference: The model.
        symbol: The name that the axis would have, or None.
        example: A call of the model.
        axes: The axes, which are one: path and place of each.
        error: Why they take no other size.
        beside: At which sizes of other axes, in words.
    """
    path, axis = axes[0]
    reason = str(error).strip().partition("\n")[0].rstrip(".")
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
