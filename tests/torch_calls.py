"""The names of torch's functions that are called, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

__all__ = ["TorchCalls"]


class TorchCalls(TorchFunctionMode):
    """Lists the functions that are called within it by name, operators with their overloads."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))

    def count(self, name: str) -> int:
        """Return how often a function was called, in any overload."""
        return sum(one.partition(".")[0] == name for one in self.names)
