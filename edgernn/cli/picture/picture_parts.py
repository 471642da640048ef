"""The parts of a picture: boxes, lines and texts, with their places in pixels."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BOLD",
    "FONT_SIZES",
    "MONOSPACED",
    "Anchor",
    "Box",
    "BoxStyle",
    "Line",
    "Picture",
    "Text",
    "TextStyle",
    "text_width",
]

BoxStyle = Literal["port", "state-port", "model", "layer", "recurrent", "state"]
TextStyle = Literal["title", "note", "kind", "name", "shape", "pin"]
Anchor = Literal["start", "middle", "end"]

FONT_SIZES: dict[TextStyle, float] = {
    "title": 17,
    "note": 12.5,
    "kind": 13,
    "name": 14,
    "shape": 12,
    "pin": 13,
}
"""The height of each style of text in pixels."""

BOLD = ("title", "kind", "name", "pin")
MONOSPACED = ("name", "shape", "pin")


@dataclass(frozen=True)
class Box:
    """A rounded rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float
    style: BoxStyle

    @property
    def right(self) -> float:
        """The x of its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.y + self.height

    @property
    def center(self) -> tuple[float, float]:
        """The point in its middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Line:
    """A line of horizontal and vertical pieces, with an arrow head at its end or without."""

    points: tuple[tuple[float, float], ...]
    style: Literal["data", "loop"]
    arrow: bool = True


@dataclass(frozen=True)
class Text:
    """One line of text at a point on its baseline: as it is shown, and the whole of it."""

    x: float
    y: float
    shown: str
    style: TextStyle
    anchor: Anchor
    whole: str

    @property
    def span(self) -> tuple[float, float]:
        """The x where it starts and ends, at most."""
        width = text_width(self.shown, self.style)
        start = self.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor] * width
        return start, start + width


@dataclass(frozen=True)
class Picture:
    """All that is drawn, in the order of the fields; sizes in pixels."""

    title: str
    description: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    texts: tuple[Text, ...]


def text_width(text: str, style: TextStyle) -> float:
    """Return the width of a text in the widest of the usual fonts, in pixels, rounded up."""
    if style in MONOSPACED:
        ems = sum(1.05 if _is_wide(character) else 0.61 for character in text)
    else:
        ems = sum(_ems(character) for character in text)
    return math.ceil(ems * FONT_SIZES[style])


def _ems(character: str) -> float:
    if _is_wide(character) or character in "mwMW@%…→×—":
        return 1.05
    return 0.8 if character.isupper() else 0.36 if character in " .,:;'|ijl()[]" else 0.66


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")
