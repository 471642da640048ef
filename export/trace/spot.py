"""Where in the model's code an operator is called, seen by running forward."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgernn.export.example.call import Example
from edgernn.export.trace.place import Place, place_in
from edgernn.export.trace.untouched import untouched

__all__ = ["first_call"]

Wanted = Callable[[Any, Any], bool]


def first_call(module: nn.Module, example: Example, wanted: Wanted) -> Place | None:
    """Return the line of the model that first calls an operator which is wanted, or None.

    Args:
        module: The model.
        example: A call of it.
        wanted: Says so of an operator (`torch.ops.aten.add.Tensor`) and of what it returned.
    """
    watch = _Watch(wanted)
    with torch.no_grad(), untouched(module), watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):
            module(**example.kwargs)
    return watch.place


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, wanted: Wanted) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wanted = wanted
        self.place: Place | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.place is None and self._wanted(func, result):
            self.place = place_in(reversed(list(_stack())))
        return result


def _stack() -> Iterator[tuple[str, int]]:
    """Yield files and lines from here outwards, as far as forward."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not first_call.__code__:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
