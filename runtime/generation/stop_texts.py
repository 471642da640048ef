"""Texts that end a text in which they appear."""

from __future__ import annotations

from collections.abc import Sequence

from edgernn.errors import InputError

__all__ = ["StopTexts", "check_stops"]


class StopTexts:
    """Looks for stop texts in a text that comes piece by piece.

    The end of a piece that may be the start of a stop text is held back until that is known.

    Attributes:
        found: The stop text that was found, or None.
    """

    def __init__(self, stops: Sequence[str], separator: str = "") -> None:
        """Start with an empty text.

        Args:
            stops: The stop texts, in the order in which they are preferred at one place.
            separator: What is between symbols; one before a stop text belongs to it.
        """
        self.found: str | None = None
        self._held = ""
        self._stops = {stop: stop for stop in stops}
        if separator:
            self._stops |= {separator + stop: stop for stop in stops}
        self._longest = max(map(len, self._stops), default=0)

    def add(self, piece: str) -> str:
        """Return the text that is certain after another piece: without a stop text or its start."""
        if not self._stops:
            return piece
        text = self._held + piece
        places = {stop: text.find(stop) for stop in self._stops}
        inside = [stop for stop, place in places.items() if place >= 0]
        if inside:
            first = min(inside, key=places.__getitem__)
            self.found, self._held = self._stops[first], ""
            return text[: places[first]]
        certain = len(text) - self._start_length(text)
        self._held = text[certain:]
        return text[:certain]

    def end(self) -> str:
        """Return what is held back, when no more pieces come."""
        held, self._held = self._held, ""
        return held

    def _start_length(self, text: str) -> int:
        """Return the length of the longest end of `text` with which a stop text starts."""
        lengths = range(min(len(text), self._longest - 1), 0, -1)
        return next(
            (n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0
        )


def check_stops(stops: str | Sequence[str]) -> tuple[str, ...]:
    """Return one or several stop texts as a tuple.

    Raises:
        InputError: One is empty.
    """
    texts = (stops,) if isinstance(stops, str) else tuple(stops)
    if "" in texts:
        raise InputError(
            "A stop text is empty, and would end every text at once. Give at least one character."
        )
    return texts
