"""Compares a rerolled module with the user's own at many sizes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.code_lines.execution_log import first_new_line
from edgernn.export.reroll.loop_structure import RerollError
from edgernn.export.trace.bounds import Bounds

__all__ = ["check_rerolled"]

_FEW = ((1, 1), (2, 2), (3, 7))
"""Batch and steps that show loops with too few iterations."""

_MANY = (40, 130)
"""Steps that show loops whose iterations change later."""


class _Outcome(Enum):
    """The outcome of a comparison; `FAILS` is the user's module, `UNCLEAR` has NaN or infinity."""

    SAME = auto()
    DIFFERENT = auto()
    FAILS = auto()
    UNCLEAR = auto()


_SAME, _FAILS = {_Outcome.SAME}, {_Outcome.FAILS}
_RUNS = {*_Outcome} - _FAILS


def check_rerolled(
    module: nn.Module, rerolled: nn.Module, example: ExampleCall, only_longer: bool = False
) -> Bounds:
    """Run both at a few steps, at the sizes of the example, and at many steps.

    Args:
        module: The user's own.
        rerolled: The same with each loop as one call.
        example: A call of both.
        only_longer: Whether `rerolled` may differ for fewer steps than the example has.

    Returns:
        The sizes at which both are the same: up to where forward fails for more steps, and from
        where `rerolled` no longer differs.

    Raises:
        RerollError: They differ, or no size could be compared.
    """
    comparison = _Comparison(module, rerolled)
    outcomes = [(sized, comparison.outcome(sized)) for sized in _sizes(example)]
    same = [sized for sized, outcome in outcomes if outcome is _Outcome.SAME]
    same_here = any(sized is example for sized in same)
    if not same:
        raise RerollError("forward returns no finite numbers at any size that was tried")
    most: dict[str, int] = {}
    least: dict[str, int] = {}
    axes = [symbol for symbol in example.sizes if symbol != BATCH]
    for sized, outcome in outcomes:
        longer = [symbol for symbol in axes if sized.sizes[symbol] > example.sizes[symbol]]
        shorter = [symbol for symbol in axes if sized.sizes[symbol] < example.sizes[symbol]]
        if outcome is _Outcome.DIFFERENT:
            if longer or len(shorter) != 1 or not only_longer or not same_here:
                raise RerollError(comparison.difference(sized))
        elif outcome is not _Outcome.FAILS or not same_here:
            continue
        if len(longer) == 1:
            (axis,) = longer
            span = example.sizes[axis], sized.sizes[axis]
            most[axis] = comparison.first_size(example, axis, span, _FAILS) - 1
        elif len(shorter) == 1:
            (axis,) = shorter
            span = sized.sizes[axis], example.sizes[axis]
            good = _SAME if outcome is _Outcome.DIFFERENT else _RUNS
            first = comparison.first_size(example, axis, span, good)
            least[axis] = max(first, least.get(axis, 1))
    return Bounds(most, least)


def _sizes(example: ExampleCall) -> Iterator[ExampleCall]:
    """Yield the example at the sizes to compare."""
    axes = [symbol for symbol in example.sizes if symbol != BATCH]
    for batch, steps in _FEW:
        sizes = {symbol: steps + index for index, symbol in enumerate(axes)}
        yield example.resized({**sizes, BATCH: batch})
    yield example
    for steps in _MANY:
        for symbol in axes:
            yield example.resized({symbol: steps})


@dataclass(frozen=True)
class _Comparison:
    module: nn.Module
    rerolled: nn.Module

    def outcome(self, example: ExampleCall) -> _Outcome:
        try:
            expected = run_forward(self.module, example).results
        except Exception:
            return _Outcome.FAILS
        try:
            actual = run_forward(self.rerolled, example).results
        except Exception:
            return _Outcome.DIFFERENT
        pairs = [(actual[path], one) for path, one in expected.items()]
        if any(one.shape != other.shape for one, other in pairs):
            return _Outcome.DIFFERENT
        if not all(bool(one.isfinite().all()) for one in expected.values()):
            return _Outcome.UNCLEAR
        close = all(torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in pairs)
        return _Outcome.SAME if close else _Outcome.DIFFERENT

    def first_size(
        self, example: ExampleCall, axis: str, span: tuple[int, int], found: Collection[_Outcome]
    ) -> int:
        """Return the first size of an axis with one of some outcomes.

        `span` is a size with another outcome and a larger one with one of these.
        """
        low, high = span

        def is_found(size: int) -> bool:
            return self.outcome(example.resized({axis: size})) in found

        return bisect_left(range(high), True, low + 1, key=is_found)

    def difference(self, example: ExampleCall) -> str:
        """Say from which size on the two differ, and which line forward reaches there."""
        for axis, high in example.sizes.items():
            smaller = (size for size in (high // 2, 7, 2, 1) if axis != BATCH and 0 < size < high)
            same = (s for s in smaller if self.outcome(example.resized({axis: s})) in _SAME)
            if (low := next(same, None)) is None:
                continue  # they differ at all its smaller sizes
            first = self.first_size(example, axis, (low, high), {_Outcome.DIFFERENT})
            before, after = (example.resized({axis: size}) for size in (first - 1, first))
            runs = (partial(run_forward, self.module, one) for one in (before, after))
            line = first_new_line(*runs)
            where = "" if line is None else f", where it reaches {line}"
            return f"forward does something else from {_listed(after)} on{where}"
        return f"forward does something else at {_listed(example)}"


def _listed(example: ExampleCall) -> str:
    return ", ".join(f"{symbol} {size}" for symbol, size in example.sizes.items())
