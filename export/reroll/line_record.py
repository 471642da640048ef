"""What the model's code did, line by line, in one eager forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from edgernn.export.call.example_call import ExampleCall
from edgernn.export.call.forward_run import run_forward
from edgernn.export.code_lines.line_tracer import traced_by
from edgernn.export.code_lines.place import Place, is_users

__all__ = ["Moment", "recorded"]

_UNSEEN = ("__get__", "dim", "size", "__len__")
"""Functions of torch that tell a size: any form of a loop calls as many as it likes."""


@dataclass(frozen=True)
class Moment:
    """A line that began to run, or a function of torch that was called on it.

    Attributes:
        place: The line.
        frame: The number of the call of a Python function that it belongs to.
        function: The function of torch; empty for a line.
        numbers: The numbers among the function's arguments, also those inside of slices.
        shapes: The shapes of the tensors among them, also those inside of lists.
        weights: Which parameters of the model are among them, as `id` tells.
    """

    place: Place
    frame: int
    function: str = ""
    numbers: tuple[float, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    weights: tuple[int, ...] = ()


def recorded(module: nn.Module, example: ExampleCall) -> list[Moment]:
    """Run forward once and return what it did, in order.

    Raises:
        Exception: forward fails.
    """
    recorder = _Recorder()
    with traced_by(recorder.enter), recorder:
        run_forward(module, example)
    return recorder.moments


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.moments: list[Moment] = []
        self._running: list[tuple[int, Place]] = []
        self._calls = 0

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not is_users(frame.f_code.co_filename):
            return None
        self._calls += 1
        self._running.append((self._calls, Place(frame.f_code.co_filename, frame.f_lineno)))
        return self._note

    def _note(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return":
            self._running.pop()
        elif event == "line":
            number, place = self._running[-1][0], Place(frame.f_code.co_filename, frame.f_lineno)
            self._running[-1] = number, place
            self.moments.append(Moment(place, number))
        return self._note

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if self._running and name not in _UNSEEN:
            given = list(_flat([args, kwargs or {}]))
            self.moments.append(
                Moment(
                    self._running[-1][1],
                    self._running[-1][0],
                    name,
                    tuple(one for one in given if not isinstance(one, torch.Tensor)),
                    tuple(tuple(one.shape) for one in given if isinstance(one, torch.Tensor)),
                    tuple(id(one) for one in given if isinstance(one, nn.Parameter)),
                )
            )
        return func(*args, **(kwargs or {}))


def _flat(value: Any) -> Iterator[Any]:
    """Yield the tensors and numbers in nested arguments."""
    match value:
        case dict():
            yield from _flat(list(value.values()))
        case list() | tuple():
            for one in value:
                yield from _flat(one)
        case slice():
            yield from _flat([value.start, value.stop, value.step])
        case bool():
            return
        case torch.Tensor() | int() | float():
            yield value
