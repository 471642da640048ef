"""One value of a JSON file, checked for its type and range when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgernn.errors import ContractError
from edgernn.untrusted_text import is_utf8, quote

__all__ = [
    "MAX_PORTS",
    "MAX_SIZE",
    "MAX_TEXT",
    "JsonField",
    "unreadable_contract",
]

MAX_SIZE = 2**31 - 1
"""The largest size of an axis."""

MAX_PORTS = 4096
"""The maximum number of inputs, outputs or states of a graph."""

MAX_TEXT = 100_000
"""The maximum number of characters of a text for people."""

_MAX_COUNT = 2**63 - 1

Read = TypeVar("Read")


def unreadable_contract(subject: str, reason: str) -> ContractError:
    """Return the error of a contract that cannot be read."""
    return ContractError(
        f"{subject} has a contract that cannot be read: {reason}. Export the model again."
    )


@dataclass(frozen=True)
class JsonField:
    """A value of a JSON file, and its path there.

    Attributes:
        subject: What to call the file in messages.
        path: The path of the value: `graphs.step.inputs[0].shape`; empty for the whole file.
        value: The value, as the json module returns it.
    """

    subject: str
    path: str
    value: Any

    def refuse(self, expected: str) -> NoReturn:
        """Raise ContractError for a value that is not what was expected."""
        raise unreadable_contract(
            self.subject, f"`{self.path}` is {_describe(self.value)}; expected {expected}"
        )

    def __getitem__(self, key: str) -> JsonField:
        """Return the field `key` of an object, which must be there."""
        field = self.get(key)
        if field is None:
            raise unreadable_contract(self.subject, f"`{self._path_of(key)}` is missing")
        return field

    def get(self, key: str) -> JsonField | None:
        """Return the field `key` of an object, or None where it is missing."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return self._at(self._path_of(key), self.value[key]) if key in self.value else None

    def entries(self) -> dict[str, JsonField]:
        """Return the fields of an object that has any keys."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        if not all(map(is_utf8, self.value)):
            self.refuse("keys in UTF-8")
        return {key: self._at(self._path_of(key), value) for key, value in self.value.items()}

    def items(self, max_length: int | None = None) -> list[JsonField]:
        """Return the elements of an array, at most `max_length` of them; None for any number."""
        if not isinstance(self.value, list):
            self.refuse("an array")
        if max_length is not None and len(self.value) > max_length:
            self.refuse(f"an array of at most {max_length}")
        return [self._at(f"{self.path}[{i}]", value) for i, value in enumerate(self.value)]

    def optional(self, read: Callable[[JsonField], Read]) -> Read | None:
        """Return `read(self)`, or None where the value is null."""
        return None if self.value is None else read(self)

    def text(self) -> str:
        """Return a string of at most `MOST_TEXT` characters."""
        if not is_utf8(self.value) or len(self.value) > MAX_TEXT:
            self.refuse(f"text in UTF-8 of at most {MAX_TEXT:,} characters")
        return str(self.value)

    def one_of(self, known: Collection[str]) -> str:
        """Return a string that is one of `known`."""
        if not isinstance(self.value, str) or self.value not in known:
            self.refuse(f"one of {', '.join(known)}")
        return self.value

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def count(self, minimum: int = 0, maximum: int = _MAX_COUNT) -> int:
        """Return an integer from `minimum` to `maximum`."""
        if type(self.value) is not int or not minimum <= self.value <= maximum:
            self.refuse(f"an integer from {minimum} to {maximum}")
        return int(self.value)

    def integer(self) -> int:
        """Return an integer of at most 63 bits, of either sign."""
        return self.count(-_MAX_COUNT)

    def real(self, minimum: float = 0) -> float:
        """Return a finite number of at least `minimum`."""
        expected = "a finite number" + ("" if minimum == -math.inf else f" of at least {minimum}")
        if type(self.value) not in (int, float) or not minimum <= self.value < math.inf:
            self.refuse(expected)
        try:
            number = float(self.value)
        except OverflowError:
            self.refuse(expected)
        if not math.isfinite(number):
            self.refuse(expected)
        return number

    def array(self, dtype: str) -> NDArray[Any]:
        """Return nested arrays of finite numbers as an array of a real dtype."""
        try:
            array = np.array(self.value)
        except ValueError:
            self.refuse("arrays of equal lengths")
        if array.dtype.kind not in "if":
            self.refuse("arrays of numbers")
        with np.errstate(over="ignore"):
            array = array.astype(dtype)
        if not np.isfinite(array).all():
            self.refuse(f"finite numbers of {dtype}")
        return array

    def _at(self, path: str, value: Any) -> JsonField:
        return JsonField(self.subject, path, value)

    def _path_of(self, key: str) -> str:
        name = quote(key).strip("`")
        return f"{self.path}.{name}" if self.path else name


def _describe(value: Any) -> str:
    """Describe a value on one line."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    if isinstance(value, int) and abs(value) > _MAX_COUNT:
        return "an integer of more than 63 bits"
    return quote(value) if isinstance(value, str) else f"`{json.dumps(value)}`"
