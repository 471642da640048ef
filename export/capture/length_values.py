"""Lengths of sequences as Python's numbers, lists and NumPy arrays, while forward is traced.

A traced tensor has no values. Where forward asks for those of its lengths, it gets stand-ins: each
knows which entry of which tensor it is. A tensor made of all stand-ins is the original one. A
single one used as a size is the number of steps, which is the longest length.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgernn.errors import UnsupportedModelError

__all__ = ["LengthValues"]

# No size is as large: a number from here on is a stand-in, or computed from one.
_LARGE = 1 << 50
_FIRST, _STRIDE = 1 << 60, 1009

# What gives the same numbers in another place, order or dtype.
_SAME = re.compile(
    "cpu|to|long|int|data|__get__|detach|clone|contiguous|view|reshape|flatten|squeeze|ravel|sort|"
    "__getitem__|index_select|flip|max|amax|type"
)
_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floor_divide": operator.floordiv,
    **{f"__{name}__": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv")},
}
_COMPARED = ("lt", "le", "gt", "ge", "eq", "ne")
_TAKES_SIZES = re.compile(
    "arange|(new_)?(zeros|ones|full|empty)|expand|view|reshape|repeat|narrow|one_hot"
)

_PER_SEQUENCE = (
    "forward takes the lengths one by one in Python, which a graph for any batch cannot. Take "
    "the last step of each sequence as y[torch.arange(len(lengths)), lengths - 1], and compare "
    "with torch.arange(steps) for a mask."
)

_IN_PYTHON = (
    "forward computes with its lengths as Python's numbers, which a graph for any batch cannot. "
    "Compute with the tensor, such as (lengths - 1) // 2 + 1, or with the items of "
    "lengths.tolist()."
)


def _arithmetic(name: str) -> Callable[[LengthValue, Any], LengthValue]:
    """Return the method that computes with a length and an integer."""

    def compute(length: LengthValue, other: Any) -> LengthValue:
        if not isinstance(other, int):
            raise UnsupportedModelError(_IN_PYTHON)
        return length.owner.computed(length, name, other)

    return compute


@dataclass(frozen=True, eq=False)
class LengthValue:
    """One length as a number.

    Attributes:
        owner: What hands it out.
        source: The tensor of which it is an entry.
        place: Which.
        steps: What it is where it is the longest.
    """

    owner: LengthValues
    source: torch.Tensor
    place: int
    steps: Any

    def _itself(self, *_: Any, **__: Any) -> LengthValue:
        return self

    item = tolist = cpu = long = int = to = detach = clone = numpy = _itself

    def __int__(self) -> Any:
        return self.owner.number(self)

    def __index__(self) -> Any:
        raise UnsupportedModelError(_PER_SEQUENCE)

    __add__ = __radd__ = _arithmetic("add")
    __sub__ = _arithmetic("sub")
    __mul__ = __rmul__ = _arithmetic("mul")
    __floordiv__ = _arithmetic("floor_divide")

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, LengthValue) and self.place < other.place

    def __gt__(self, other: Any) -> bool:
        return not isinstance(other, LengthValue) or self.place > other.place

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other


class LengthValues:
    """Answers torch's functions that ask for the values of lengths."""

    def __init__(self) -> None:
        self._steps: dict[int, Any] = {}
        self._alive: list[Any] = []
        self._listed: torch.Tensor | None = None
        self._numbers: dict[int, LengthValue] = {}
        self._computed: dict[tuple[int, str, int], torch.Tensor] = {}

    def track(self, lengths: torch.Tensor, steps: Any) -> None:
        """Answer for lengths, (batch,) int64, of which the longest is `steps`."""
        self._alive.append(lengths)
        self._steps[id(lengths)] = steps

    def __call__(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Answer a torch function, or return NotImplemented if no lengths are concerned."""
        if name in ("as_tensor", "tensor", "from_numpy"):
            return self._tensor(args[0], kwargs.get("dtype"))
        lengths = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if lengths is None or id(lengths) not in self._steps:
            return NotImplemented
        if lengths.dim() == 0:
            return self._one(name, *args)
        if name in ("tolist", "unbind"):
            self._listed = lengths
            return self._all(lengths)
        if name == "__len__" and lengths is self._listed:  # list() asks for the size it will have
            self._listed = None
            return _example_size(lengths)
        if name in ("numpy", "__array__"):
            return np.array([*self._all(lengths), None], object)[:-1]
        return NotImplemented

    def with_steps(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the arguments of a torch function with the number of steps for each stand-in."""
        if not self._steps:
            return args, kwargs
        if name == "__getitem__" and _picks_one(args[1]):
            raise UnsupportedModelError(_PER_SEQUENCE)
        sizes = _TAKES_SIZES.fullmatch(name) is not None
        first = 0 if name in ("arange", "zeros", "ones", "full", "empty") else 1
        changed = tuple(
            self._with_steps(one, sizes and place >= first) for place, one in enumerate(args)
        )
        return changed, {key: self._with_steps(one, sizes) for key, one in kwargs.items()}

    def follow(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        """Follow lengths into the result of a torch function."""
        source = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if source is None or id(source) not in self._steps:
            return
        steps = self._steps[id(source)]
        if name in _ARITHMETIC and len(args) > 1 and type(args[1]) is int:
            steps = _ARITHMETIC[name](steps, args[1])
        elif not _SAME.fullmatch(name):
            return
        first = result[0] if isinstance(result, tuple) else result
        if isinstance(first, torch.Tensor) and not first.is_floating_point() and first.dim() < 2:
            self.track(first, steps)

    def number(self, count: LengthValue) -> int:
        """Return an integer in the place of a length."""
        number = _FIRST + _STRIDE * len(self._numbers)
        self._numbers[number] = count
        return number

    def computed(self, count: LengthValue, name: str, other: int) -> LengthValue:
        """Return a length after arithmetic with an integer."""
        key = id(count.source), name, other
        if key not in self._computed:
            self._computed[key] = getattr(torch, name)(count.source, other)
        steps = _ARITHMETIC[name](count.steps, other)
        return LengthValue(self, self._computed[key], count.place, steps)

    def _all(self, lengths: torch.Tensor) -> list[LengthValue]:
        steps = self._steps[id(lengths)]
        return [LengthValue(self, lengths, place, steps) for place in range(_example_size(lengths))]

    def _one(self, name: str, length: torch.Tensor, *others: Any) -> Any:
        steps = self._steps[id(length)]
        if name in ("item", "tolist"):
            return steps
        if name in ("__int__", "numpy"):
            return self.number(LengthValue(self, length, 0, steps))
        if name in _COMPARED and isinstance(others[0], (int, torch.SymInt)):
            return getattr(operator, name)(steps, others[0])
        return NotImplemented

    def _tensor(self, data: Any, dtype: torch.dtype | None) -> Any:
        """Return the tensor whose entries `data` are, all of them in their order."""
        listed = isinstance(data, (list, tuple)) or (isinstance(data, np.ndarray) and data.ndim)
        if not listed:
            return NotImplemented
        counts = [self._count(one) for one in data]
        source = next((one.source for one in counts if isinstance(one, LengthValue)), None)
        if source is None:
            return NotImplemented
        own = [one.place for one in counts if isinstance(one, LengthValue) and one.source is source]
        if own != list(range(_example_size(source))) or len(own) < len(counts):
            raise UnsupportedModelError(_PER_SEQUENCE)
        return source.to(dtype or torch.int64)

    def _count(self, value: Any) -> Any:
        """Return the length in whose place a number is, or the value itself."""
        if not isinstance(value, (int, np.integer)) or not _LARGE < value < sys.maxsize:
            return value
        if int(value) not in self._numbers:
            raise UnsupportedModelError(_IN_PYTHON)
        return self._numbers[int(value)]

    def _with_steps(self, value: Any, size: bool) -> Any:
        if isinstance(value, slice):
            parts = (self._with_steps(part, True) for part in (value.start, value.stop, value.step))
            return slice(*parts)
        if type(value) in (tuple, list):
            return type(value)(self._with_steps(one, size) for one in value)
        if size and isinstance(value, torch.Tensor) and value.dim() == 0:
            return self._steps.get(id(value), value)
        value = self._count(value)
        return value.steps if isinstance(value, LengthValue) else value


def _picks_one(index: Any) -> bool:
    """Return whether an index takes the step at which one sequence ends."""
    parts = index if type(index) is tuple else (index,)
    return any(isinstance(one, LengthValue) for one in parts)


def _example_size(tensor: torch.Tensor) -> int:
    """Return how many entries a tensor has in the example, without fixing its size."""
    size = tensor.shape[0]
    return size if isinstance(size, int) else int(size.node.hint)
