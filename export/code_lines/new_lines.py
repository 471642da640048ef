"""Which line of the model's code runs in one run and not in another."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

from edgernn.export.code_lines.python_tracer import trace_python
from edgernn.export.code_lines.source_line import SourceLine, is_model_code

__all__ = ["first_new_line"]

_Instruction = tuple[str, int, int, int]
"""File, first line of the function, index of the instruction in it, line."""


def first_new_line(before: Callable[[], object], after: Callable[[], object]) -> SourceLine | None:
    """Return the first line of the model with a part that `after` runs and `before` does not.

    In `x[t] if t < 10 else y` what comes after `else` is a part.

    Args:
        before: Runs the model.
        after: Runs it too, in another way.
    """
    known = set(_instructions(before))
    new = (one for one in _instructions(after) if one not in known)
    return next((SourceLine(file, line) for file, _, _, line in new), None)


def _instructions(run: Callable[[], object]) -> list[_Instruction]:
    """Return the instructions of the model's code in the order in which they first run."""
    found: dict[_Instruction, None] = {}

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        if not is_model_code(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        return note

    def note(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            code = frame.f_code
            found[code.co_filename, code.co_firstlineno, frame.f_lasti, frame.f_lineno] = None
        return note

    with trace_python(enter):
        run()
    return list(found)
