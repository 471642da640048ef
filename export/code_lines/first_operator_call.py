"""Which line of the model's code first calls an operator, seen while forward runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from edgernn.export.code_lines.source_line import SourceLine, innermost_line

__all__ = ["FirstCallMode"]


class FirstCallMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that records which line of the model first calls one of some operators.

    Args:
        is_one: Whether a call is of these, from the operator (`torch.ops.aten.add.Tensor`) and
            what it returned.

    Attributes:
        called: The name of the operator that was called; empty where none was.
        line: The line, or None.
    """

    def __init__(self, is_one: Callable[[Any, Any], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._is_one = is_one
        self._outside: FrameType | None = sys._getframe(1)
        self.called = ""
        self.line: SourceLine | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.called and self._is_one(func, result):
            self.called = func.overloadpacket.__name__
            self.line = innermost_line(reversed(list(self._stack())))
        return result

    def _stack(self) -> Iterator[tuple[str, int]]:
        """Yield files and line numbers from here outwards, up to where the mode was made."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame is not self._outside:
            yield frame.f_code.co_filename, frame.f_lineno
            frame = frame.f_back
