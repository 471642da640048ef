"""Why a loop over time, or what was taken for one, cannot be written for any number of steps."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.code_lines.place import Place
from edgernn.export.code_lines.statement import Span, decision_at, decision_over, loops_in
from edgernn.export.reroll.line_record import Moment, recorded
from edgernn.export.trace.refusal import ONE_STEP

__all__ = ["Branch", "branch_on_size", "explained"]

_TRIED = range(1, 18)
"""Sizes of an axis at which it is seen which lines run."""

_MANY = 23
"""Iterations among which the first that differs is looked for."""

_TAKING = ("__getitem__", "__setitem__", "select", "narrow", "index_select", "unbind")
"""Functions of torch that may take the number of the iteration."""


@dataclass(frozen=True)
class Branch:
    """A branch of forward on the size of an axis.

    Attributes:
        symbol: The axis.
        place: The line with the condition, or the first that runs at some sizes alone.
        sizes: At which of `_TRIED` the line runs that is not always run.
        tried: Those of `_TRIED` that forward takes.
    """

    symbol: str
    place: Place
    sizes: tuple[int, ...]
    tried: tuple[int, ...]

    @property
    def is_bound(self) -> bool:
        """Whether one side is taken up to some size and the other one from then on."""
        taken = [size in self.sizes for size in self.tried]
        return sum(a is not b for a, b in itertools.pairwise(taken)) == 1

    @property
    def divisor(self) -> int | None:
        """By which number the size is divided, where the remainder decides."""
        for divisor in range(2, 9):
            sides = [
                {size in self.sizes for size in self.tried if (size % divisor == 0) is whole}
                for whole in (True, False)
            ]
            if sorted(map(len, sides)) == [1, 1] and sides[0] != sides[1]:
                return divisor
        return None

    def __str__(self) -> str:
        if self.divisor is None:
            return (
                f"branches on the size of `{self.symbol}` at {self.place}, and a graph computes "
                "the same at every size. Compute the same at all sizes, or give that size as a "
                "number."
            )
        kinds = {2: f"whether `{self.symbol}` is odd or even"}
        what = kinds.get(self.divisor, f"whether `{self.symbol}` is a multiple of {self.divisor}")
        return (
            f"branches on {what} at {self.place}, and a graph computes the same at every size. Do "
            f"without the branch: pad by `-n % {self.divisor}` or crop by `n % {self.divisor}`, "
            "which may be 0."
        )


def branch_on_size(module: nn.Module, example: ExampleCall) -> Branch | None:
    """Return the branch by which forward runs other lines at other sizes; None where it loops.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.
    """
    for symbol in example.sizes:
        runs = dict(_runs(module, example, symbol))
        if symbol == BATCH or len(runs) < 3:
            continue
        if any(_rounds(runs, loop) for loop in _loops(runs.values())):
            return None
        done = {size: {(one.place, one.function) for one in run} for size, run in runs.items()}
        for place, function in dict.fromkeys(
            (one.place, one.function) for run in runs.values() for one in run
        ):
            sizes = tuple(size for size in runs if (place, function) in done[size])
            if len(sizes) < len(runs):
                inline = function and decision_at(place)
                over = place if inline else decision_over(place) or place
                return Branch(symbol, over, sizes, tuple(runs))
    return None


def explained(module: nn.Module, example: ExampleCall, reason: str) -> str:
    """Say why forward cannot be written for any number of steps, where, and what helps.

    Args:
        module: The model.
        example: A call of it with its dynamic axes.
        reason: What was found when its loops were written.
    """
    name = type(module).__name__
    if (branch := branch_on_size(module, example)) is not None:
        return f"`{name}.forward` {branch}"
    timed = list(_timed(module, example))
    for symbol, loop, _ in timed:
        if symbol == BATCH:
            return (
                f"`{name}.forward` loops over the sequences of a batch at {loop.place}, and a "
                f"graph takes them together. Give the batch as a number, such as "
                f"{_with_number(module, example, BATCH)}."
            )
    for (outer, loop, _), (inner, within, _) in itertools.permutations(timed, 2):
        if outer != inner and loop.holds(within.place) and loop != within:
            either = " or ".join(_with_number(module, example, axis) for axis in (inner, outer))
            return (
                f"`{name}.forward` loops over `{inner}` at {within.place} inside of a loop over "
                f"`{outer}` at {loop.place}, and in a graph one of the two must have a constant "
                f"size. Give the one along which nothing is carried as a number: {either}."
            )
    for symbol, loop, run in timed:
        options = _with_number(module, example, symbol)
        first, *others = _iterations(run, loop) or [[]]
        alike = [first, *others] if _counted(first) == _counted(next(iter(others), [])) else others
        for difference, parts in (
            (_of_lines, others),
            (_of_numbers, alike),
            (_of_weights, alike),
            (_of_shapes, alike),
            (_of_lines, [first, *others[:1]]),  # of the first, where all others are alike
        ):
            if said := difference(parts, len(others) + 1 - len(parts)):
                return (
                    f"`{name}.forward` loops over `{symbol}` at {loop.place}, and a graph runs the "
                    f"same in every iteration: {said.format(options)}"
                )
    loops = next((f" loops over `{one[0]}` at {one[1].place}, which" for one in timed), "")
    return (
        f"`{name}.forward`{loops} cannot be written for any number of steps: {reason}. To go on, "
        f"{ONE_STEP}."
    )


def _with_number(module: nn.Module, example: ExampleCall, symbol: str) -> str:
    """Return the options that give an axis as a number."""
    size = 1 if symbol == BATCH else example.sizes[symbol]
    return example.with_constants({symbol: size}).options()


def _runs(
    module: nn.Module, example: ExampleCall, symbol: str
) -> Iterator[tuple[int, list[Moment]]]:
    for size in _TRIED:
        try:
            yield size, recorded(module, example.resized({symbol: size}))
        except Exception:
            continue  # a size that forward does not take


def _timed(module: nn.Module, example: ExampleCall) -> Iterator[tuple[str, Span, list[Moment]]]:
    """Yield the loops that have more iterations where an axis is longer, the outer ones first."""
    for symbol, size in example.sizes.items():
        runs: dict[int, list[Moment]] = {}
        for steps in (_MANY, _MANY + 8, size, size + 8):
            try:
                runs[steps] = recorded(module, example.resized({symbol: steps}))
            except Exception:
                continue  # a size that forward does not take
        for loop in _loops(runs.values()):
            if _rounds(runs, loop):
                yield symbol, loop, runs[max(runs)]


def _loops(runs: Iterable[Sequence[Moment]]) -> list[Span]:
    places = {one.place for run in runs for one in run}
    files = dict.fromkeys(place.file for place in sorted(places, key=str))
    return [loop for file in files for loop in loops_in(file) if loop.place in places]


def _rounds(runs: Mapping[int, Sequence[Moment]], loop: Span) -> bool:
    """Return whether a loop goes round more often at a larger size."""
    counts = [sum(_begins(one, loop) for one in runs[size]) for size in sorted(runs)]
    return len(counts) > 1 and counts[-1] > counts[0] > 0


def _begins(moment: Moment, loop: Span) -> bool:
    return moment.place == loop.place and not moment.function


def _iterations(run: Sequence[Moment], loop: Span) -> list[list[Moment]]:
    """Return what each iteration did, the first time that the loop ran."""
    heads = [n for n, one in enumerate(run) if _begins(one, loop)]
    heads = [n for n in heads if run[n].frame == run[heads[0]].frame]
    found: list[list[Moment]] = []
    for start, end in itertools.pairwise(heads):
        part = [one for one in run[start + 1 : end] if one.place != loop.place]
        if any(
            one.frame == run[start].frame and not loop.holds(one.place) and not one.function
            for one in part
        ):
            break  # the loop was left and began anew
        found.append(part)
    return found


def _counted(part: Sequence[Moment]) -> Counter[tuple[Place, str]]:
    return Counter((one.place, one.function) for one in part)


def _of_lines(iterations: Sequence[Sequence[Moment]], skipped: int) -> str | None:
    done = [_counted(part) for part in iterations]
    for number, both in enumerate(itertools.pairwise(done), skipped + 2):
        for (here, there), (runs, other) in (
            (both[::-1], (number, number - 1)),
            (both, (number - 1, number)),
        ):
            for (place, function), times in here.items():
                if not there[place, function]:
                    what = f"calls `{function}` at" if there[place, ""] else "runs"
                    return (
                        f"iteration {runs} {what} {place}, iteration {other} does not. Compute it "
                        "in every iteration and choose with torch.where by a tensor with an entry "
                        "for each, such as `(torch.arange(n) % 10 == 0)[t]`."
                    )
                if times > there[place, function]:
                    return (
                        f"iteration {runs} runs {place} more often than iteration {other}. Carry "
                        "what it needs from one to the next, such as a sum, rather than go over "
                        "all so far."
                    )
    return None


def _of_numbers(iterations: Sequence[Sequence[Moment]], skipped: int) -> str | None:
    for same in _side_by_side(iterations):
        for numbers in zip(*(one.numbers for one in same), strict=False):
            taking, place = same[0].function in _TAKING, same[0].place
            steps = {b - a for a, b in itertools.pairwise(numbers)}
            whole = all(isinstance(one, int) for one in numbers)
            if steps == {0} or (taking and whole and len(steps) == 1):
                continue
            turn = _first_other(numbers)
            now, before, number = f"{numbers[turn]:.6g}", f"{numbers[turn - 1]:.6g}", turn + skipped
            if taking:
                return (
                    f"iteration {number + 1} takes step {now} at {place}, iteration {number} step "
                    f"{before}, and these do not follow each other evenly. Give the size as a "
                    "number, such as {}."
                )
            return (
                f"iteration {number + 1} computes with {now} at {place}, iteration {number} with "
                f"{before}. Put the numbers of all iterations into a tensor before the loop, such "
                "as `0.9 ** torch.arange(n)`, and take its entry `[t]`."
            )
    return None


def _of_weights(iterations: Sequence[Sequence[Moment]], skipped: int) -> str | None:
    for same in _side_by_side(iterations):
        weights = [one.weights for one in same]
        if len(set(weights)) > 1:
            number = _first_other(weights) + skipped
            return (
                f"iteration {number + 1} has other weights at {same[0].place} than iteration "
                f"{number}. Give the size as a number, such as {{}}."
            )
    return None


def _of_shapes(iterations: Sequence[Sequence[Moment]], skipped: int) -> str | None:
    for same in _side_by_side(iterations):
        shapes = [one.shapes for one in same]
        if len(set(shapes)) == 1:
            continue
        turn = _first_other(shapes)
        helps = (
            "Give the size as a number, such as {}."
            if turn == len(shapes) - 1
            else "Carry what keeps its shape, such as a sum or the last few, rather than all so "
            "far."
        )
        number = turn + skipped
        now, before = _told(shapes[turn], shapes[turn - 1])
        return (
            f"iteration {number + 1} takes {now} at {same[0].place}, iteration {number} {before}. "
            f"{helps}"
        )
    return None


def _first_other(values: Sequence[object]) -> int:
    """Return the place of the first value that is another than the one before it."""
    return next(n for n, (a, b) in enumerate(itertools.pairwise(values), 1) if a != b)


def _told(*shapes: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """Yield what differs in two lists of shapes: how many they are, or the first other one."""
    counts = list(map(len, shapes))
    if len(set(counts)) > 1:
        yield from ("1 tensor" if count == 1 else f"{count} tensors" for count in counts)
    else:
        pair = next(pair for pair in zip(*shapes, strict=True) if len(set(pair)) > 1)
        yield from (f"a tensor of {list(shape)}" for shape in pair)


def _side_by_side(iterations: Sequence[Sequence[Moment]]) -> Iterator[list[Moment]]:
    """Yield the same call of torch in all iterations."""
    calls = [[one for one in part if one.function] for part in iterations]
    if len(calls) > 1 and len({len(part) for part in calls}) == 1:
        yield from map(list, zip(*calls, strict=True))
