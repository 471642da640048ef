"""The smallest and largest sizes at which a trace agrees with the model.

torch.export follows one side of each branch of forward on a size, and notes as a guard what must
hold of the sizes for that side to be taken: `s27 <= 64`. Sizes that break a guard may give another
result. A guard may also be torch's own, which never matters to the result, such as that a size is
not 1. So where a guard fails inside the bounds, the proof runs the graph at that size.
"""

from __future__ import annotations

import functools
import itertools
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir
import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.printers import PythonPrinter

import edgernn
from edgernn.contract import SEQUENCE
from edgernn.export.call.example_call import ExampleCall

__all__ = ["Bounds", "attach_bounds", "bounds_of", "find_bounds"]

_META = "edgernn.bounds"
_EVERY = 512
_LARGEST = 1 << 20
_ALONE = (
    *range(1, _EVERY + 1),
    *(_EVERY * 9**n // 8**n + more for n in range(1, 65) for more in range(8)),
    *range(_LARGEST - 8, _LARGEST + 1),
)
"""Sizes at which guards of one axis are evaluated: each small one, and some in a row beyond."""

_TOGETHER = (1, 2, 3, 5, 8, 17, 40, 130, 1000)
"""Sizes at which guards of several axes are evaluated."""

_SAMPLES = 3

_NOT_THE_USERS = tuple(str(Path(str(module.__file__)).parent) for module in (torch, edgernn, sympy))


@dataclass(frozen=True)
class Bounds:
    """The sizes of dynamic axes for which a trace agrees with the model.

    Attributes:
        most: Name of an axis → its largest size.
        least: Name of an axis → its smallest size, where that is more than 1.
        unproven: Sizes within these bounds at which a guard does not hold, a few of each kind: name
            of an axis → its size. The graph may be wrong there.
        reasons: Name of an axis → the line of code that bounds it.
    """

    most: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    unproven: tuple[Mapping[str, int], ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __and__(self, other: Bounds) -> Bounds:
        """Return the bounds of a model that both are parts of."""
        most, least = dict(self.most), dict(self.least)
        for axis, size in other.most.items():
            most[axis] = min(size, most.get(axis, size))
        for axis, size in other.least.items():
            least[axis] = max(size, least.get(axis, size))
        unproven = {tuple(sorted(one.items())): one for one in (*self.unproven, *other.unproven)}
        reasons = {**other.reasons, **self.reasons}
        return Bounds(most=most, least=least, unproven=tuple(unproven.values()), reasons=reasons)

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for people on which sizes the graph takes."""
        limits = ((self.most, "at most", "more"), (self.least, "at least", "fewer"))
        return tuple(
            f"`{axis}` is {word} {size}: forward does something else, or fails, for "
            f"{other}{self.reasons.get(axis, '')}."
            for sizes, word, other in limits
            for axis, size in sizes.items()
        )


@dataclass(frozen=True)
class _Guard:
    """What must hold of the sizes of some axes, and the line of the model that it comes from."""

    axes: tuple[str, ...]
    holds: Callable[..., bool]
    line: str


def attach_bounds(
    model: ir.Model, programs: Sequence[ExportedProgram], example: ExampleCall
) -> None:
    """Record in `model`, made from traces in turn, for which sizes it agrees with the module."""
    bounds = (find_bounds(program, example) for program in programs)
    model.meta[_META] = functools.reduce(operator.and_, bounds)


def bounds_of(model: ir.Model) -> Bounds:
    """Return for which sizes a graph agrees with the model, as far as its trace tells."""
    bounds: Bounds = model.meta.get(_META, Bounds())
    return bounds


def find_bounds(program: ExportedProgram, example: ExampleCall) -> Bounds:
    """Return for which sizes `program`, a trace of `example`, agrees with the model."""
    environment, names = _symbols(program, example)
    guards = [] if environment is None else list(_guards(environment, names))
    ranges = _ranges(program, names)
    bounds: dict[str, tuple[int, int]] = {}
    reasons: dict[str, str] = {}
    unproven: list[dict[str, int]] = []
    for axis in example.sizes:
        low, high = 1, _LARGEST
        holes: list[int] = []
        for guard in (one for one in guards if one.axes == (axis,)):
            first, last, inside = _interval(guard.holds)
            holes += inside
            if guard.line and (first > max(low, 2) or last < high):
                reasons[axis] = guard.line
            low, high = max(low, first), min(high, last)
        first, last = ranges.get(axis, (1, _LARGEST))
        low, high = max(low, first), min(high, last)
        bounds[axis] = (low if low > 2 else 1), high  # torch assumes that no dynamic size is 1
        unproven += [{axis: size} for size in dict.fromkeys(holes) if low <= size <= high]
    for guard in guards:
        if len(guard.axes) > 1 and _count_violations(guard, unproven) < _SAMPLES:
            unproven += _violations(guard, bounds)
    unproven = [
        sizes for sizes in unproven if sizes.get(SEQUENCE, example.multiple) % example.multiple == 0
    ]
    return Bounds(
        most={axis: high for axis, (_, high) in bounds.items() if high < _LARGEST},
        least={axis: low for axis, (low, _) in bounds.items() if low > 1},
        unproven=tuple(unproven),
        reasons=reasons,
    )


def _interval(holds: Callable[[int], bool]) -> tuple[int, int, list[int]]:
    """Return the first and the last size at which a guard holds, and a few between where not."""
    good = [size for size in _ALONE if holds(size)]
    if not good:
        return 1, _LARGEST, []
    first, last = good[0], good[-1]
    below = max((size for size in _ALONE if size < first), default=first - 1)
    above = min((size for size in _ALONE if size > last), default=last + 1)
    sizes = range(above + 1)
    first = bisect_left(sizes, True, below + 1, first, key=holds)
    last = bisect_left(sizes, True, last + 1, above, key=lambda size: not holds(size)) - 1
    holes = [size for size in range(first, min(last, _EVERY + 1)) if not holds(size)]
    if holes:  # not a bound: single sizes
        first, holes = 1, [*range(1, first), *holes]
    last = _LARGEST if last >= _LARGEST - 8 else last
    return first, last, [*holes[:_SAMPLES], *holes[_SAMPLES:][-_SAMPLES:]]


def _violations(guard: _Guard, bounds: Mapping[str, tuple[int, int]]) -> list[dict[str, int]]:
    """Return a few sizes within the bounds at which a guard of several axes does not hold."""
    ranges = (bounds.get(axis, (1, _LARGEST)) for axis in guard.axes)
    choices = [sorted({min(max(size, low), high) for size in _TOGETHER}) for low, high in ranges]
    found = [sizes for sizes in itertools.product(*choices) if not guard.holds(*sizes)]
    found.sort(key=max)
    samples = sorted({0, len(found) // 2, len(found) - 1}) if found else ()
    return [dict(zip(guard.axes, found[index], strict=True)) for index in samples]


def _count_violations(guard: _Guard, known: Sequence[Mapping[str, int]]) -> int:
    """Return at how many of some sizes a guard does not hold."""
    about = [sizes for sizes in known if set(guard.axes) <= set(sizes)]
    return sum(not guard.holds(*(sizes[axis] for axis in guard.axes)) for sizes in about)


def _guards(environment: Any, names: Mapping[str, str]) -> Iterator[_Guard]:
    """Yield the guards of a trace, those of no dynamic axis left out."""
    for guard in environment.guards:
        symbols = sorted(map(str, guard.expr.free_symbols))
        if not symbols or not set(symbols) <= set(names):
            continue
        axes = tuple(dict.fromkeys(names[symbol] for symbol in symbols))
        holds = _function(PythonPrinter().doprint(guard.expr), symbols, names, axes)
        yield _Guard(axes, holds, _where(guard.sloc.framework_loc))


def _function(
    text: str, symbols: Sequence[str], names: Mapping[str, str], axes: Sequence[str]
) -> Callable[..., bool]:
    code = compile(text, "<guard>", "eval")

    def holds(*sizes: int) -> bool:
        known = dict(zip(axes, sizes, strict=True))
        values = {symbol: known[names[symbol]] for symbol in symbols}
        try:
            return bool(eval(code, {"__builtins__": {"min": min, "max": max}}, values))
        except (NameError, ZeroDivisionError):
            return True  # what cannot be evaluated says nothing; the proof is left

    return holds


def _ranges(program: ExportedProgram, names: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return the range of each dynamic axis that torch notes."""
    found: dict[str, tuple[int, int]] = {}
    for symbol, sizes in program.range_constraints.items():
        if axis := names.get(str(symbol)):
            low, high = found.get(axis, (1, _LARGEST))
            lower = int(sizes.lower) if sizes.lower.is_Integer else 1
            upper = int(sizes.upper) if sizes.upper.is_Integer else _LARGEST
            found[axis] = max(low, lower), min(high, upper)
    return found


def _symbols(program: ExportedProgram, example: ExampleCall) -> tuple[Any, dict[str, str]]:
    """Return torch's environment of sizes, and its name of a size → the axis's."""
    environment, names = None, dict[str, str]()
    leaves = example.tensors
    inputs = program.graph.find_nodes(op="placeholder")[-len(leaves) :]
    for node, leaf in zip(inputs, leaves, strict=True):
        for size, axis in zip(node.meta["val"].shape, leaf.shape, strict=True):
            if isinstance(size, torch.SymInt) and isinstance(axis, str):
                environment = size.node.shape_env
                names |= dict.fromkeys((str(size.node.expr), str(size.node._expr)), axis)
    return environment, names


def _where(frame: Any) -> str:
    """Return ` (model.py:12)` of the frame that a guard comes from, unless it is torch's own."""
    file = getattr(frame, "filename", "")
    if not file or any(file.startswith(folder) for folder in _NOT_THE_USERS):
        return ""
    return f" ({Path(file).name}:{frame.lineno})"
