"""Where memory is: on the host, or on a device of its own."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HOST", "ONE_AT_A_TIME", "Device"]

# CUDA refuses copies and allocations of every other thread while one captures a graph.
ONE_AT_A_TIME: AbstractContextManager[Any] = threading.RLock()


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        memory: ONNX Runtime's name of its memory.
        id: Its number, where there are several of the kind.
        turn: Entered around every call that uses the device.
    """

    memory: str
    id: int = 0
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext, compare=False)


HOST = Device("cpu")
