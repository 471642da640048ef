"""Python's trace function, for as long as a model runs."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["trace_python"]


@contextlib.contextmanager
def trace_python(enter: Callable[..., Any]) -> Iterator[None]:
    """Trace what runs within the block; nothing else runs in between, as on garbage collection."""
    outer, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(outer)
        if collects:
            gc.enable()
