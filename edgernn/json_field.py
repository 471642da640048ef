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
"""The largest size of an axis, and of everything else that is counted in 32 bits."""

MAX_PORTS = 4096
"""The most inputs, outputs or states of a graph."""

MAX_TEXT = 100_000
"""The most characters of a text for people."""

_MAX_COUNT = 2**63 - 1

Read = TypeVar("Read")


def unreadable_contract(subject: str, reason: str) -> ContractError:
    """Return the error of a contract that cannot be read."""
    return ContractError(
        f"{subject} has a contract that cannot be read: {reason}. Export the model again."
    )


@dataclass(frozen=True)
class JsonField:
    """A value, and where it stands.

    Attributes:
        subject: What to call the file in messages.
        place: The path of the value: `graphs.step.inputs[0].shape`; empty for the whole.
        value: What JSON has there.
    """

    subject: str
    place: str
    value: Any

    def refuse(self, expected: str) -> NoReturn:
        """Raise ContractError for a value that is not what was expected."""
        raise unreadable_contract(
            self.subject, f"`{self.place}` is {_describe(self.value)}; expected {expected}"
        )

    def __getitem__(self, key: str) -> JsonField:
        """Return the field `key` of an object, which must be there."""
        field = self.get(key)
        if field is None:
            raise unreadable_contract(self.subject, f"`{self._under(key)}` is missing")
        return field

    def get(self, key: str) -> JsonField | None:
        """Return the field `key` of an object, or None where it is not there."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return self._at(self._under(key), self.value[key]) if key in self.value else None

    def entries(self) -> dict[str, JsonField]:
        """Return the fields of an object whose keys are names of its own."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        if not all(map(is_utf8, self.value)):
            self.refuse("keys in UTF-8")
        return {key: self._at(self._under(key), value) for key, value in self.value.items()}

    def items(self, most: int | None = None) -> list[JsonField]:
        """Return the elements of an array of at most `most`; None for any number."""
        if not isinstance(self.value, list):
            self.refuse("an array")
        if most is not None and len(self.value) > most:
            self.refuse(f"an array of at most {most}")
        return [self._at(f"{self.place}[{i}]", value) for i, value in enumerate(self.value)]

    def optional(self, read: Callable[[JsonField], Read]) -> Read | None:
        """Return what `read` makes of the value, or None where it is null."""
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

    def count(self, least: int = 0, most: int = _MAX_COUNT) -> int:
        """Return an integer from `least` to `most`."""
        if type(self.value) is not int or not least <= self.value <= most:
            self.refuse(f"an integer from {least} to {most}")
        return int(self.value)

    def real(self) -> float:
        """Return a finite number of at least 0."""
        if type(self.value) not in (int, float) or not 0 <= self.value < math.inf:
            self.refuse("a finite number of at least 0")
        try:
            return float(self.value)
        except OverflowError:
            self.refuse("a finite number of at least 0")

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

    def _at(self, place: str, value: Any) -> JsonField:
        return JsonField(self.subject, place, value)

    def _under(self, key: str) -> str:
        name = quote(key).strip("`")
        return f"{self.place}.{name}" if self.place else name


def _describe(value: Any) -> str:
    """Return a value as JSON on one line, cut short."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    if isinstance(value, int) and abs(value) > _MAX_COUNT:
        return "an integer of more than 63 bits"
    return quote(value) if isinstance(value, str) else f"`{json.dumps(value)}`"
