"""The text that follows one prompt, as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from edgernn.runtime.generation.stop_texts import StopTexts
from edgernn.vocabulary import Vocabulary

__all__ = ["Continuation"]


class Continuation:
    """What follows one prompt.

    Attributes:
        prompt: The prompt.
        symbols: The number of symbols so far.
        ended: Whether no more come.
    """

    def __init__(self, prompt: str, vocabulary: Vocabulary, stops: Sequence[str]) -> None:
        self.prompt = prompt
        self.symbols = 0
        self.ended = False
        self._separator = vocabulary.separator
        self._texts = vocabulary.texts
        self._stops = StopTexts(stops, vocabulary.separator) if stops else None
        self._pieces: list[str] = []
        self._has_text = False

    @property
    def text(self) -> str:
        """The text so far, without what may be the start of a stop text."""
        return "".join(self._pieces)

    @property
    def stop(self) -> str | None:
        """The stop text that ended it, if one did."""
        return self._stops.found if self._stops else None

    def add(self, id_: int) -> str:
        """Add a symbol; return the text that is certain with it."""
        self.symbols += 1
        piece = self._texts[id_]
        if self._separator and piece:
            piece, self._has_text = self._separator * self._has_text + piece, True
        if self._stops:
            piece = self._stops.add(piece)
            self.ended = self._stops.found is not None
        self._pieces.append(piece)
        return piece

    def end(self) -> str:
        """End the text; return the rest of it."""
        self.ended = True
        rest = self._stops.end() if self._stops else ""
        self._pieces.append(rest)
        return rest
