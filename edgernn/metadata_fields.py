"""The contract in a graph's metadata: a text for each key, checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgernn.json_field import unreadable_contract
from edgernn.untrusted_text import is_utf8, quote

__all__ = ["MetadataFields"]

_MAX_DIGITS = 18
_MAX_REAL = 40


@dataclass(frozen=True)
class MetadataFields:
    """The metadata of one graph.

    Attributes:
        subject: What to call the graph in messages.
        texts: Key, without its prefix → text.
    """

    subject: str
    texts: Mapping[str, str]

    def get(self, key: str) -> str | None:
        """Return the text of `key`, or None where it is missing."""
        text = self.texts.get(key)
        if text is not None and not is_utf8(text):
            raise unreadable_contract(self.subject, f"`{key}` is not UTF-8 text")
        return text

    def text(self, key: str) -> str:
        """Return the text of `key`, which must be there."""
        text = self.get(key)
        if text is None:
            raise unreadable_contract(self.subject, f"`{key}` is missing")
        return text

    def one_of(self, key: str, known: Collection[str]) -> str:
        """Return the text of `key`, which is one of `known`."""
        text = self.text(key)
        if text not in known:
            raise unreadable_contract(
                self.subject, f"`{key}` is {quote(text)}; expected one of {', '.join(known)}"
            )
        return text

    def count(self, key: str) -> int | None:
        """Return the integer of `key`, at least 0, or None where the key is missing."""
        text = self.get(key)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
            raise unreadable_contract(
                self.subject,
                f"`{key}` is {quote(text)}; expected an integer of at most {_MAX_DIGITS} digits",
            )
        return int(text)

    def counts(self, prefix: str) -> dict[str, int]:
        """Return the integers of the keys with a prefix: key without the prefix → integer."""
        counts = {key: self.count(key) for key in self.texts if key.startswith(prefix)}
        return {key.removeprefix(prefix): n for key, n in counts.items() if n is not None}

    def real(self, key: str) -> float | None:
        """Return the finite number of `key`, or None where the key is missing."""
        text = self.get(key)
        if text is None:
            return None
        try:
            number = float(text) if len(text) <= _MAX_REAL and text.isascii() else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise unreadable_contract(
                self.subject, f"`{key}` is {quote(text)}; expected a finite number"
            )
        return number

    def reals(self, prefix: str) -> dict[str, float]:
        """Return the numbers of the keys with a prefix: key without the prefix → number."""
        reals = {key: self.real(key) for key in self.texts if key.startswith(prefix)}
        return {key.removeprefix(prefix): n for key, n in reals.items() if n is not None}

    def pairs(self, key: str) -> list[tuple[str, str]]:
        """Return the pairs `a:b,c:d` of `key`, which must be there."""
        pairs = [pair.split(":") for pair in self.text(key).split(",") if pair]
        if any(len(pair) != 2 or not all(pair) for pair in pairs):
            raise unreadable_contract(
                self.subject,
                f"`{key}` is {quote(self.text(key))}; expected pairs, as h_in:h_out,c_in:c_out",
            )
        return [(first, second) for first, second in pairs]

    def numbers(self, key: str, dtype: str = "float32") -> NDArray[Any] | None:
        """Return the numbers of `key` as an array (count,), or None where it is missing.

        Args:
            key: The key.
            dtype: What they are read as: `float32`, or `int64` for exact integers.
        """
        text = self.get(key)
        if text is None:
            return None
        try:
            numbers = np.array(text.split(" "), dtype)
        except (ValueError, OverflowError):
            numbers = np.array([np.nan])
        if not np.isfinite(numbers).all():
            kind = "finite numbers" if dtype == "float32" else "integers"
            raise unreadable_contract(
                self.subject,
                f"`{key}` is {quote(text)}; expected {kind} with one space between them",
            )
        return numbers
