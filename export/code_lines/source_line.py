"""The line of the model's code that an error, a stack or a call of an operator came from."""

from __future__ import annotations

import itertools
import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "FirstCallMode",
    "SourceLine",
    "innermost_line",
    "is_model_code",
    "line_of_error",
    "line_of_stack",
    "size_guards",
]

_LIBRARIES = (
    "edgernn edgernn.export edgernn.runtime torch torchgen onnxscript onnx_ir onnx onnxruntime "
    "numpy sympy"
)
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_WIDEST = 72


@dataclass(frozen=True)
class SourceLine:
    """A line of Python; its number is from 1."""

    file: str
    number: int

    @property
    def code(self) -> str:
        """Its text."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        try:
            file = str(Path(self.file).relative_to(Path.cwd()))
        except ValueError:
            file = self.file
        code = self.code if len(self.code) <= _WIDEST else self.code[: _WIDEST - 2] + " …"
        return f"{file}:{self.number}" + (f" (`{code}`)" if code else "")


def line_of_error(error: BaseException) -> SourceLine | None:
    """Return the model's line that an exception, or rather the first that led to it, came from."""
    for one in reversed(list(_chain(error))):
        frames = list(traceback.walk_tb(one.__traceback__))
        found = innermost_line((frame.f_code.co_filename, line) for frame, line in frames)
        if found is not None:
            return found
        for frame, _ in reversed(frames):
            node = frame.f_locals.get("node")
            if isinstance(node, fx.Node) and (found := line_of_stack(node.stack_trace or "")):
                return found
    return None


def line_of_stack(trace: str) -> SourceLine | None:
    """Return the line of the model in a stack that torch recorded, without what called forward."""
    stack = [(file, int(line)) for file, line in _FRAME.findall(trace)]
    entered = [index for index, (file, _) in enumerate(stack) if not is_model_code(file)]
    return innermost_line(stack[entered[0] if entered else 0 :])


def innermost_line(stack: Iterable[tuple[str, int]]) -> SourceLine | None:
    """Return the innermost line of the model, or None.

    Lines of installed packages are taken only where there are no others: the model calls them.

    Args:
        stack: Files and line numbers, the outermost call first.
    """
    own = [SourceLine(file, line) for file, line in stack if is_model_code(file)]
    users = [line for line in own if not _is_installed(line.file)]
    return next(reversed(users or own), None)


def size_guards(error: BaseException) -> Iterator[tuple[str, SourceLine | None]]:
    """Yield each condition on sizes that torch.export recorded before it failed, and its line."""
    for one in _chain(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            guards: Any = getattr(frame.f_locals.get("shape_env"), "guards", None)
            if not guards:
                continue
            for guard in guards:
                located = getattr(guard.sloc, "framework_loc", None)
                file, line = getattr(located, "filename", ""), getattr(located, "lineno", 0)
                yield str(guard.expr), innermost_line([(file, line)])
            return


def is_model_code(file: str) -> bool:
    """Return whether a file belongs neither to torch, nor to edgernn, nor to Python itself."""
    if file.startswith(("<", "torch/", *_libraries())):
        return False
    # site-packages may be inside the folder of Python's own modules
    return _is_installed(file) or not file.startswith(f"{sysconfig.get_path('stdlib')}/")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@cache
def _libraries() -> tuple[str, ...]:
    found: list[str] = []
    for name in _LIBRARIES.split():
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            found += [f"{folder}/", f"{Path(folder).resolve()}/"]
    return tuple(found)


def _is_installed(file: str) -> bool:
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return file.startswith(tuple(f"{folder}/" for folder in folders))


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
        self._outside = sys._getframe(1)
        self.called = ""
        self.line: SourceLine | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.called and self._is_one(func, result):
            self.called = func.overloadpacket.__name__
            stack = traceback.walk_stack(sys._getframe())
            inside = itertools.takewhile(lambda one: one[0] is not self._outside, stack)
            self.line = innermost_line(
                reversed([(frame.f_code.co_filename, line) for frame, line in inside])
            )
        return result
