"""Models whose forward draws random numbers, or reads memory that nothing was written to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from edgernn.errors import UnsupportedModelError
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import ExampleRunner, ForwardRun
from edgernn.export.code_lines.source_line import FirstCallMode
from edgernn.export.ir.recurrent_operators import FUNCTIONS

__all__ = ["refuse_random"]

_UNINITIALIZED = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
_JUNK = 0.37


def refuse_random(reference: ExampleRunner, example: ExampleCall, run: ForwardRun) -> None:
    """Raise UnsupportedModelError where the same call gives something else the second time."""
    with FirstCallMode(_draws) as watch, FirstCallMode(_writes_junk) as unwritten:
        again = reference(example)
    if _agree(run, again):
        return
    if not watch.called and _agree(run, again, exactly=False):
        return  # a library's rounding
    if not watch.called and unwritten.line:
        with FirstCallMode(_writes_junk):
            third = reference(example)
        if _agree(again, third, exactly=False):
            raise UnsupportedModelError(
                f"`{reference.name}` reads memory that nothing was written to, made at "
                f"{unwritten.line}: it holds other numbers every time. Make it with torch.zeros."
            )
    at = f" at {watch.line}" if watch.line else ""
    if _starts_apart(run, again):
        raise UnsupportedModelError(
            f"`{reference.name}` starts from a random state, drawn anew at every call{at}, so no "
            "two runs agree. Start from zeros or from a parameter, or take the state as an "
            "argument."
        )
    theirs = again.results
    differ = (
        p for p, one in run.results.items() if p not in theirs or not _same([one], [theirs[p]])
    )
    path = next(differ, "")
    result = f"`{path}`" if path else "its result"
    if not watch.called:
        raise UnsupportedModelError(
            f"`{reference.name}` does not return the same twice: {result} differs from call to "
            "call, and torch draws no random numbers. Leave out of it what NumPy or Python draw, "
            "and the time; keep memory in attributes, and modules in an nn.ModuleList instead of a "
            "list."
        )
    if "drop" in f"{watch.called} {watch.line.code if watch.line else ''}".lower():
        raise UnsupportedModelError(
            f"`{reference.name}` applies dropout in eval mode{at}, so {result} differs from call "
            "to call. Tie it to the mode: functional.dropout(x, p, self.training), or nn.Dropout."
        )
    raise UnsupportedModelError(
        f"`{reference.name}` draws random numbers{at}, so {result} differs from call to call and "
        "no graph can be proven. Return what is not drawn (a mean, scores), or take the noise as "
        "an argument."
    )


def _draws(operator: Any, result: Any) -> bool:
    """Return whether an operator draws random numbers."""
    random = torch.Tag.nondeterministic_seeded in operator.tags
    return random and operator.overloadpacket.__name__ not in FUNCTIONS


def _writes_junk(operator: Any, result: Any) -> bool:
    """Return whether an operator makes a tensor without writing to it; if so write a number.

    Nothing that is defined depends on it.
    """
    if operator.overloadpacket.__name__ not in _UNINITIALIZED or not result.is_floating_point():
        return False
    result.fill_(_JUNK)
    return True


def _agree(one: ForwardRun, other: ForwardRun, exactly: bool = True) -> bool:
    """Return whether two runs started from the same states and returned the same."""
    return (
        not _starts_apart(one, other, exactly)
        and list(one.results) == list(other.results)
        and _same(one.results.values(), other.results.values(), exactly)
    )


def _starts_apart(one: ForwardRun, other: ForwardRun, exactly: bool = True) -> bool:
    """Return whether the first call of a layer has the same input, but another state."""
    seen: set[int] = set()
    for a, b in zip(one.calls, other.calls, strict=False):
        if id(a.layer) in seen:
            continue
        seen.add(id(a.layer))
        if not _same([a.x], [b.x], exactly):
            return False
        if not _same(a.states, b.states, exactly):
            return True
    return False


def _same(one: Iterable[torch.Tensor], other: Iterable[torch.Tensor], exactly: bool = True) -> bool:
    return all(
        a.shape == b.shape
        and (
            torch.equal(a.nan_to_num(), b.nan_to_num())
            if exactly or not a.is_floating_point()
            else torch.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
        )
        for a, b in zip(one, other, strict=True)
    )
