"""What the model's code did in one eager run: lines and calls of torch's functions, in order.

With `for t in range(3): h = h * w` on line 7 the log has a `LogEntry` for line 7 and for `__mul__`
three times each. `first_new_line` compares two runs, `x[t] if t < 10 else y` on one line included.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from edgernn.export.code_lines.source_line import SourceLine, is_model_code
from edgernn.export.code_lines.source_syntax import SourceLoop, loops_in

__all__ = ["LogEntry", "first_new_line", "growing_loops", "iterations_of", "log_execution"]

_SIZE_FUNCTIONS = ("__get__", "dim", "size", "__len__")
"""Functions of torch that return a size: their number says nothing about a loop."""

_Instruction = tuple[str, int, int, int]
"""File, first line of the function, index of the instruction in it, line."""


@dataclass(frozen=True)
class LogEntry:
    """A line that began to run, or a function of torch that was called on it.

    Attributes:
        frame: The number of the call of a Python function that it belongs to.
        function: The function of torch; empty for a line.
        numbers: The numbers among the function's arguments, also those inside slices.
        shapes: The shapes of the tensors among them, also those inside lists.
        weights: Which parameters of the model are among them, by `id`.
    """

    line: SourceLine
    frame: int
    function: str = ""
    numbers: tuple[float, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    weights: tuple[int, ...] = ()

    def begins(self, loop: SourceLoop) -> bool:
        """Return whether an iteration of a loop begins here."""
        return self.line == loop.line and not self.function


def log_execution(run: Callable[[], object]) -> list[LogEntry]:
    """Run a model once and return what it did."""
    logger = _Logger()
    with _trace_python(logger.enter), logger:
        run()
    return logger.entries


def growing_loops(logs: Mapping[int, Sequence[LogEntry]]) -> list[SourceLoop]:
    """Return the loops that have more iterations at a larger size, outer ones first."""
    lines = {entry.line for log in logs.values() for entry in log}
    loops = [loop for file in sorted({line.file for line in lines}) for loop in loops_in(file)]
    return [loop for loop in loops if loop.line in lines and _grows(logs, loop)]


def _grows(logs: Mapping[int, Sequence[LogEntry]], loop: SourceLoop) -> bool:
    counts = [sum(entry.begins(loop) for entry in logs[size]) for size in sorted(logs)]
    return len(counts) > 1 and counts[-1] > counts[0] > 0


def iterations_of(log: Sequence[LogEntry], loop: SourceLoop) -> list[list[LogEntry]]:
    """Return what each iteration did, the first time that the loop ran."""
    starts = [index for index, entry in enumerate(log) if entry.begins(loop)]
    starts = [index for index in starts if log[index].frame == log[starts[0]].frame]
    found: list[list[LogEntry]] = []
    for start, end in itertools.pairwise(starts):
        part = [entry for entry in log[start + 1 : end] if entry.line != loop.line]
        if any(
            entry.frame == log[start].frame and not loop.contains(entry.line) and not entry.function
            for entry in part
        ):
            break  # the loop ended and began again
        found.append(part)
    return found


def first_new_line(before: Callable[[], object], after: Callable[[], object]) -> SourceLine | None:
    """Return the first line of the model with a part that `after` runs and `before` does not.

    In `x[t] if t < 10 else y` what comes after `else` is a part.
    """
    known = set(_instructions(before))
    new = (one for one in _instructions(after) if one not in known)
    return next((SourceLine(file, line) for file, _, _, line in new), None)


def _instructions(run: Callable[[], object]) -> list[_Instruction]:
    """Return the instructions of the model's code in the order in which they first run."""
    found: dict[_Instruction, None] = {}

    def enter(frame: FrameType) -> Any:
        frame.f_trace_opcodes = True
        return note

    def note(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            code = frame.f_code
            found[code.co_filename, code.co_firstlineno, frame.f_lasti, frame.f_lineno] = None
        return note

    with _trace_python(enter):
        run()
    return list(found)


@contextlib.contextmanager
def _trace_python(enter: Callable[[FrameType], Any]) -> Iterator[None]:
    """Call `enter` for each function of the model that the block calls, see `sys.settrace`.

    Garbage is not collected in the block, as that would call functions of others.
    """
    outer, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(
        lambda frame, *_: enter(frame) if is_model_code(frame.f_code.co_filename) else None
    )
    try:
        yield
    finally:
        sys.settrace(outer)
        if collects:
            gc.enable()


def _line(frame: FrameType) -> SourceLine:
    return SourceLine(frame.f_code.co_filename, frame.f_lineno)


class _Logger(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.entries: list[LogEntry] = []
        self._running: list[tuple[int, SourceLine]] = []
        self._calls = 0

    def enter(self, frame: FrameType) -> Any:
        self._calls += 1
        self._running.append((self._calls, _line(frame)))
        return self._note

    def _note(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return":
            self._running.pop()
        elif event == "line":
            number, line = (self._running[-1][0], _line(frame))
            self._running[-1] = number, line
            self.entries.append(LogEntry(line, number))
        return self._note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if self._running and name not in _SIZE_FUNCTIONS:
            frame, line = self._running[-1]
            values = list(_leaves([args, kwargs or {}]))
            tensors = [value for value in values if isinstance(value, torch.Tensor)]
            self.entries.append(
                LogEntry(
                    line=line,
                    frame=frame,
                    function=name,
                    numbers=tuple(v for v in values if not isinstance(v, torch.Tensor)),
                    shapes=tuple(tuple(tensor.shape) for tensor in tensors),
                    weights=tuple(id(one) for one in tensors if isinstance(one, nn.Parameter)),
                )
            )
        return func(*args, **(kwargs or {}))


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the tensors and numbers in nested arguments."""
    match value:
        case dict():
            yield from _leaves(list(value.values()))
        case list() | tuple():
            for one in value:
                yield from _leaves(one)
        case slice():
            yield from _leaves([value.start, value.stop, value.step])
        case bool():
            return
        case torch.Tensor() | int() | float():
            yield value
