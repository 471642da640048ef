"""Where in the model's code operators are called, seen while forward runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from edgernn.export.code_lines.place import Place, place_in

__all__ = ["Wanted", "Watch"]

Wanted = Callable[[Any, Any], bool]


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that notes the line of the model which first calls an operator that is wanted.

    Args:
        wanted: Says so of an operator (`torch.ops.aten.add.Tensor`) and of what it returned.

    Attributes:
        called: The name of that operator; empty where none was called.
        place: The line, or None.
    """

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wanted = wanted
        self._outside: FrameType | None = sys._getframe(1)
        self.called = ""
        self.place: Place | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.called and self._wanted(func, result):
            self.called = func.overloadpacket.__name__
            self.place = place_in(reversed(list(self._stack())))
        return result

    def _stack(self) -> Iterator[tuple[str, int]]:
        """Yield files and lines from here outwards, as far as where the mode was made."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame is not self._outside:
            yield frame.f_code.co_filename, frame.f_lineno
            frame = frame.f_back
