"""Python's trace function, set while a model runs."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["trace_python"]


@contextlib.contextmanager
def trace_python(enter: Callable[..., Any]) -> Iterator[None]:
    """Call `enter` for each Python function that is called in the block, see `sys.settrace`.

    Garbage is not collected in the block, as that would call functions of others.
    """
    outer, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(outer)
        if collects:
            gc.enable()
