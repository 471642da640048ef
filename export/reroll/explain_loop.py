"""Why a loop over time cannot be rerolled: the first iteration that differs, its line, a remedy."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from torch import nn

from edgernn.contract import BATCH
from edgernn.export.call.example_call import ExampleCall
from edgernn.export.code_lines.execution_log import LogEntry, growing_loops, iterations_of
from edgernn.export.code_lines.source_line import SourceLine
from edgernn.export.code_lines.source_syntax import SourceLoop
from edgernn.export.trace.explain_failure import export_one_step
from edgernn.export.trace.size_branch import find_size_branch, logs_at_sizes

__all__ = ["explain_loop"]

_MANY = 23
"""Iterations among which the first that differs is looked for."""

_TAKES_STEPS = ("__getitem__", "__setitem__", "select", "narrow", "index_select", "unbind")
"""Functions of torch that may take the number of the iteration."""


def explain_loop(module: nn.Module, example: ExampleCall, reason: str) -> str:
    """Say why forward cannot be rerolled, where, and what helps; `reason` is a `RerollError`'s."""
    name = type(module).__name__
    if (branch := find_size_branch(module, example)) is not None:
        return f"`{name}.forward` {branch}"
    loops = list(_loops_over_axes(module, example))
    for symbol, loop, _ in loops:
        if symbol == BATCH:
            return (
                f"`{name}.forward` loops over the sequences of a batch at {loop.line}, and a "
                f"graph takes them together. Give the batch as a number, such as "
                f"{_with_constant(example, BATCH)}."
            )
    for (outer, loop, _), (inner, nested, _) in itertools.permutations(loops, 2):
        if outer != inner and loop.contains(nested.line) and loop != nested:
            either = " or ".join(_with_constant(example, axis) for axis in (inner, outer))
            return (
                f"`{name}.forward` loops over `{inner}` at {nested.line} inside a loop over "
                f"`{outer}` at {loop.line}, and in a graph one of the two must have a constant "
                f"size. Give the one along which nothing is carried as a number: {either}."
            )
    for symbol, loop, log in loops:
        options = _with_constant(example, symbol)
        if difference := _first_difference(iterations_of(log, loop), options):
            return (
                f"`{name}.forward` loops over `{symbol}` at {loop.line}, and a graph runs the "
                f"same in every iteration: {difference}"
            )
    where = next((f" loops over `{symbol}` at {loop.line}, which" for symbol, loop, _ in loops), "")
    return (
        f"`{name}.forward`{where} cannot be written for any number of steps: {reason}. To go on, "
        f"{export_one_step()}."
    )


def _with_constant(example: ExampleCall, symbol: str) -> str:
    """Return the options that give an axis as a number."""
    size = 1 if symbol == BATCH else example.sizes[symbol]
    return example.with_constants({symbol: size}).options()


def _loops_over_axes(
    module: nn.Module, example: ExampleCall
) -> Iterator[tuple[str, SourceLoop, list[LogEntry]]]:
    """Yield the loops with more iterations where an axis is longer, and a log of the longest."""
    for symbol, size in example.sizes.items():
        logs = logs_at_sizes(module, example, symbol, (_MANY, _MANY + 8, size, size + 8))
        for loop in growing_loops(logs):
            yield symbol, loop, logs[max(logs)]


def _first_difference(iterations: Sequence[Sequence[LogEntry]], options: str) -> str | None:
    """Say which iteration is the first that differs from the one before, and what helps.

    The first iteration may run other lines than all others; only if nothing else differs that is
    the reason.
    """
    if not iterations:
        return None
    first, *others = iterations
    different = _different_lines(others, 2)
    if different is None:
        start = 0 if others and _line_counts(first) == _line_counts(others[0]) else 1
        different = _different_calls(iterations[start:], start + 1, options)
        different = different or _different_lines(iterations[:2], 1)
    return different


def _line_counts(iteration: Sequence[LogEntry]) -> Counter[tuple[SourceLine, str]]:
    return Counter((entry.line, entry.function) for entry in iteration)


def _different_lines(iterations: Sequence[Sequence[LogEntry]], number: int) -> str | None:
    """Say which line runs in one iteration and not in the other; `number` is that of the first."""
    counts = enumerate(itertools.pairwise(map(_line_counts, iterations)), number)
    for before, (earlier, later) in counts:
        for lines, others, runs, other in (
            (later, earlier, before + 1, before),
            (earlier, later, before, before + 1),
        ):
            for (line, function), times in lines.items():
                if not others[line, function]:
                    what = f"calls `{function}` at" if others[line, ""] else "runs"
                    return (
                        f"iteration {runs} {what} {line}, iteration {other} does not. Compute it "
                        "in every iteration and choose with torch.where by a tensor with an entry "
                        "for each, such as `(torch.arange(n) % 10 == 0)[t]`."
                    )
                if times > others[line, function]:
                    return (
                        f"iteration {runs} runs {line} more often than iteration {other}. Carry "
                        "what it needs from one to the next, such as a sum, rather than go over "
                        "all so far."
                    )
    return None


def _different_calls(
    iterations: Sequence[Sequence[LogEntry]], number: int, options: str
) -> str | None:
    """Say which call of torch takes other arguments; `number` is that of the first iteration."""
    calls = [[entry for entry in iteration if entry.function] for iteration in iterations]
    if len(calls) < 2 or len({len(own) for own in calls}) > 1:
        return None
    checks = (_different_numbers, _different_weights, _different_shapes)
    found = (check(same, number, options) for check in checks for same in zip(*calls, strict=True))
    return next(filter(None, found), None)


def _different_numbers(calls: Sequence[LogEntry], number: int, options: str) -> str | None:
    takes_step, line = calls[0].function in _TAKES_STEPS, calls[0].line
    for numbers in zip(*(call.numbers for call in calls), strict=False):
        strides = {after - before for before, after in itertools.pairwise(numbers)}
        integers = all(isinstance(value, int) for value in numbers)
        if strides == {0} or (takes_step and integers and len(strides) == 1):
            continue
        change = _first_change(numbers)
        after, before = f"{numbers[change]:.6g}", f"{numbers[change - 1]:.6g}"
        later = number + change
        if takes_step:
            return (
                f"iteration {later} takes step {after} at {line}, iteration {later - 1} step "
                f"{before}, and these do not follow each other evenly. Give the size as a "
                f"number, such as {options}."
            )
        return (
            f"iteration {later} computes with {after} at {line}, iteration {later - 1} with "
            f"{before}. Put the numbers of all iterations into a tensor before the loop, such "
            "as `0.9 ** torch.arange(n)`, and take its entry `[t]`."
        )
    return None


def _different_weights(calls: Sequence[LogEntry], number: int, options: str) -> str | None:
    weights = [call.weights for call in calls]
    if len(set(weights)) == 1:
        return None
    later = number + _first_change(weights)
    return (
        f"iteration {later} has other weights at {calls[0].line} than iteration {later - 1}. Give "
        f"the size as a number, such as {options}."
    )


def _different_shapes(calls: Sequence[LogEntry], number: int, options: str) -> str | None:
    shapes = [call.shapes for call in calls]
    if len(set(shapes)) == 1:
        return None
    change = _first_change(shapes)
    remedy = (
        f"Give the size as a number, such as {options}."
        if change == len(shapes) - 1
        else "Carry what keeps its shape, such as a sum or the last few, rather than all so far."
    )
    after, before = _describe_shapes(shapes[change], shapes[change - 1])
    later, line = number + change, calls[0].line
    return f"iteration {later} takes {after} at {line}, iteration {later - 1} {before}. {remedy}"


def _first_change(values: Sequence[object]) -> int:
    """Return the index of the first value that differs from the one before it."""
    return next(n for n, (a, b) in enumerate(itertools.pairwise(values), 1) if a != b)


def _describe_shapes(*shapes: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """Yield what differs in two lists of shapes: their numbers, or the first different shape."""
    counts = list(map(len, shapes))
    if len(set(counts)) > 1:
        yield from ("1 tensor" if count == 1 else f"{count} tensors" for count in counts)
    else:
        pair = next(pair for pair in zip(*shapes, strict=True) if len(set(pair)) > 1)
        yield from (f"a tensor of {list(shape)}" for shape in pair)
