"""The picture of hop, context, delay and tail, docs/images/streaming.svg, and how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator

import click

from edgernn.cli.picture.picture_parts import Anchor, Box, Line, Picture, Text, TextStyle
from edgernn.cli.picture.svg_picture import svg_of

__all__ = ["CONTEXT", "HOPS", "KERNEL", "PADDING", "STRIDE", "picture"]

KERNEL, STRIDE, PADDING, CONTEXT, HOPS = 5, 2, 2, 4, 4
CALLS = ("call 0", "call 1", "call 2", "call 3", "finish")
CELL, ROW, HEIGHT = 40.0, 56.0, 34.0
LEFT, TOP, RESULT = 100.0, 118.0, 700.0


def picture() -> Picture:
    """Return five calls of a convolution: what each one keeps, takes and returns."""
    parts = [*_heads(), *(part for call in range(len(CALLS)) for part in _call(call))]
    return Picture(
        title="A convolution, call by call",
        description=(
            "Five calls in five rows. Each takes a hop of two steps of the input, and the context: "
            "the four steps before them, zeros at the start. The first call returns nothing, which "
            "is the delay. The next three return frames 0, 1 and 2. The last call takes padding, "
            "zeros, in place of steps of the input and returns frame 3, which is the tail."
        ),
        width=850,
        height=TOP + len(CALLS) * ROW + 14,
        boxes=tuple(part for part in parts if isinstance(part, Box)),
        lines=tuple(part for part in parts if isinstance(part, Line)),
        texts=tuple(part for part in parts if isinstance(part, Text)),
    )


def _heads() -> Iterator[Text]:
    yield _text(24, 36, "A convolution, call by call", "title")
    yield _text(
        24, 58, "kernel 5, stride 2, padding 2 on both sides; eight steps of the input", "note"
    )
    middle = LEFT + CONTEXT * CELL / 2
    yield _text(middle, TOP - 16, "context", "pin", "middle")
    yield _text(LEFT + (CONTEXT + 1) * CELL, TOP - 16, "hop", "name", "middle")
    yield _text(RESULT, TOP - 16, "output", "name")


def _call(call: int) -> Iterator[Box | Line | Text]:
    """Yield the row of one call: the context, the hop, and what comes out."""
    y = TOP + call * ROW
    line = y + HEIGHT / 2 + 4.5
    yield _text(24, line, CALLS[call], "kind")
    first = LEFT + call * STRIDE * CELL
    hop = first + CONTEXT * CELL
    yield Box(first, y, CONTEXT * CELL, HEIGHT, "state")
    padded = call == HOPS
    yield Box(hop, y, STRIDE * CELL, HEIGHT, "state-port" if padded else "layer")
    for place in range(CONTEXT + STRIDE):
        step = call * STRIDE - CONTEXT + place
        shown = str(step) if 0 <= step < HOPS * STRIDE else "zero"
        style: TextStyle = "name" if place >= CONTEXT and not padded else "pin"
        x = first + (place + 0.5) * CELL
        yield _text(x, line, shown, "shape" if shown == "zero" else style, "middle")
    yield Line(((hop + STRIDE * CELL, y + HEIGHT / 2), (RESULT - 8, y + HEIGHT / 2)), "data")
    said = {0: "none: the delay", HOPS: f"frame {HOPS - 1}: the tail"}
    yield _text(RESULT, line, said.get(call, f"frame {call - 1}"), "kind" if call else "note")


def _text(x: float, y: float, text: str, style: TextStyle, anchor: Anchor = "start") -> Text:
    return Text(x, y, text, style, anchor, text)


if __name__ == "__main__":
    click.echo(svg_of(picture()), nl=False)
