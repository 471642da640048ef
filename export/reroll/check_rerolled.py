"""A module whose loops are one call each, compared with the user's own at many sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import torch
from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall, run_forward
from edgernn.export.code_lines.new_lines import first_new_line
from edgernn.export.reroll.size_variants import NotRolledError
from edgernn.export.trace.bounds import Bounds

__all__ = ["compared"]

_FEW = ((1, 1), (2, 2), (3, 7))
"""Batch and steps: where loops with too few iterations are found out."""

_MANY = (40, 130)
"""Steps: where loops whose iterations change later are found out."""


class _Outcome(Enum):
    """What a comparison came to; `FAILS` is the user's module, `UNCLEAR` has NaN or infinity."""

    ALIKE = auto()
    DIFFERENT = auto()
    FAILS = auto()
    UNCLEAR = auto()


def compared(
    module: nn.Module, made: nn.Module, example: ExampleCall, long: bool = False
) -> Bounds:
    """Run both at a few steps, at the sizes of the example, and at many steps.

    Args:
        module: The user's own.
        made: The same with its loops as one call each.
        example: A call of both with its dynamic axes.
        long: Whether `made` may be wrong for fewer steps than the example has.

    Returns:
        The sizes for which `made` is the module, as far as forward fails for more, or it may be
        wrong for fewer.

    Raises:
        NotRolledError: They differ, or no size could be compared.
    """
    both = _Both(module, made)
    outcomes = [(sized, both.outcome(sized)) for sized in _sizes(example)]
    alike = [sized for sized, outcome in outcomes if outcome is _Outcome.ALIKE]
    own = any(sized is example for sized in alike)
    if not alike:
        raise NotRolledError("forward gives no finite numbers at any size that was tried")
    most: dict[str, int] = {}
    least: dict[str, int] = {}
    axes = [symbol for symbol in example.sizes if symbol != BATCH]
    for sized, outcome in outcomes:
        longer = [symbol for symbol in axes if sized.sizes[symbol] > example.sizes[symbol]]
        shorter = [symbol for symbol in axes if sized.sizes[symbol] < example.sizes[symbol]]
        if outcome is _Outcome.DIFFERENT:
            if not long or longer or len(shorter) != 1 or not own:
                raise NotRolledError(both.difference(sized))
            first = both.first_alike(sized, example, shorter[0])
            least[shorter[0]] = max(first, least.get(shorter[0], 1))
        elif outcome is _Outcome.FAILS and own and len(longer) == 1:
            most[longer[0]] = both.last_that_runs(example, sized, longer[0])
        elif outcome is _Outcome.FAILS and own and len(shorter) == 1:
            first = both.first_that_runs(sized, example, shorter[0])
            least[shorter[0]] = max(first, least.get(shorter[0], 1))
    return Bounds(most, least)


def _sizes(example: ExampleCall) -> Iterator[ExampleCall]:
    """Yield the example at the sizes to compare."""
    axes = [symbol for symbol in example.sizes if symbol != BATCH]
    for batch, steps in _FEW:
        sizes = {symbol: steps + place for place, symbol in enumerate(axes)}
        yield example.resized({**sizes, BATCH: batch})
    yield example
    for steps in _MANY:
        for symbol in axes:
            yield example.resized({symbol: steps})


@dataclass(frozen=True)
class _Both:
    """A module and what was made of it."""

    module: nn.Module
    made: nn.Module

    def outcome(self, example: ExampleCall) -> _Outcome:
        """Run both and compare what they give."""
        try:
            wanted = run_forward(self.module, example).results
        except Exception:
            return _Outcome.FAILS
        try:
            got = run_forward(self.made, example).results
        except Exception:
            return _Outcome.DIFFERENT
        if any(got[path].shape != one.shape for path, one in wanted.items()):
            return _Outcome.DIFFERENT
        if not all(bool(one.isfinite().all()) for one in wanted.values()):
            return _Outcome.UNCLEAR
        close = (torch.allclose(got[p], one, rtol=1e-4, atol=1e-5) for p, one in wanted.items())
        return _Outcome.ALIKE if all(close) else _Outcome.DIFFERENT

    def difference(self, example: ExampleCall) -> str:
        """Say from which size on the two differ, and where forward does something else there."""
        for symbol in example.sizes:
            found = self._turn(example, symbol) if symbol != BATCH else None
            if found is not None:
                return found
        return f"forward does something else at {_listed(example)}"

    def _turn(self, example: ExampleCall, symbol: str) -> str | None:
        """Return the same of one axis; None where no smaller size of it is alike."""
        high = example.sizes[symbol]

        def outcome(size: int) -> _Outcome:
            return self.outcome(example.resized({symbol: size}))

        smaller = (size for size in (high // 2, 7, 2, 1) if 0 < size < high)
        low = next((size for size in smaller if outcome(size) is _Outcome.ALIKE), None)
        if low is None:
            return None
        high = _first(low, high, lambda size: outcome(size) is _Outcome.DIFFERENT)
        before, after = (example.resized({symbol: size}) for size in (high - 1, high))
        line = first_new_line(
            lambda: run_forward(self.module, before), lambda: run_forward(self.module, after)
        )
        where = "" if line is None else f", where it comes to {line}"
        return f"forward does something else from {_listed(after)} on{where}"

    def first_alike(self, short: ExampleCall, example: ExampleCall, symbol: str) -> int:
        """Return from which size of an axis on both are alike."""
        return _first(
            short.sizes[symbol],
            example.sizes[symbol],
            lambda size: self.outcome(example.resized({symbol: size})) is _Outcome.ALIKE,
        )

    def first_that_runs(self, short: ExampleCall, example: ExampleCall, symbol: str) -> int:
        """Return from which size of an axis on forward runs."""
        return _first(
            short.sizes[symbol],
            example.sizes[symbol],
            lambda size: self.outcome(example.resized({symbol: size})) is not _Outcome.FAILS,
        )

    def last_that_runs(self, example: ExampleCall, long: ExampleCall, symbol: str) -> int:
        """Return up to which size of an axis forward runs."""
        fails = _first(
            example.sizes[symbol],
            long.sizes[symbol],
            lambda size: self.outcome(example.resized({symbol: size})) is _Outcome.FAILS,
        )
        return fails - 1


def _first(low: int, high: int, is_so: Callable[[int], bool]) -> int:
    """Return the first size from which on something is so, between one that is not and one."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_so(middle) else (middle, high)
    return high


def _listed(example: ExampleCall) -> str:
    return ", ".join(f"{symbol} {size}" for symbol, size in example.sizes.items())
