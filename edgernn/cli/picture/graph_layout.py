"""Where everything in a picture of a model is: three columns, and states that return below.

┌────────┐    ┌─────────────┐    ┌─────────┐
│ inputs ├───►│    model    ├───►│ outputs │
└────────┘    │   layers    │    └─────────┘
          ┌──►│h_in    h_out├──┐
          │   └─────────────┘  │
          │   ┌─────────────┐  │
          └───┤      h      │◄─┘
              └─────────────┘
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from edgernn.cli.picture.graph_content import Content, PortLabel, shorten
from edgernn.cli.picture.picture_parts import (
    Anchor,
    Box,
    BoxStyle,
    Line,
    Picture,
    Text,
    TextStyle,
    text_width,
)
from edgernn.untrusted_text import escape_unprintable

__all__ = ["lay_out"]

_MARGIN = 20.0
_PAD = 12.0
_LINE = 18.0
_SPACE = 10.0
_ROW = 24.0
_ROW_SPACE = 4.0
_PIN = 22.0
_GAP = 48.0
_LANE = 12.0
_LANES = 72.0
_LEAST_MODEL = 220.0


def lay_out(content: Content) -> Picture:
    """Return the picture of a model."""
    return _Layout(content).picture()


def _plain(text: str) -> str:
    """Return a text of a file on one line, without characters that XML or a reader obeys."""
    return escape_unprintable(text).replace("\n", " ").replace("\t", " ")


def _shown(text: str, style: TextStyle) -> str:
    """Return as much of a text as has a place; notes are short already, or wrapped."""
    return text if style == "note" else shorten(text, 48 if style == "shape" else 35)


def _wrap(note: str, width: float) -> list[str]:
    """Return a note in lines of at most `width` pixels."""
    wrapped = (textwrap.wrap(note, length) for length in range(len(note), 0, -1))
    fits = (lines for lines in wrapped if all(text_width(one, "note") <= width for one in lines))
    return next(fits, [])


class _Layout:
    """The parts of one picture, column by column."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._boxes: list[Box] = []
        self._lines: list[Line] = []
        self._texts: list[Text] = []

    def picture(self) -> Picture:
        content = self._content
        number = len(content.states)
        lane = min(_LANE, _LANES / max(1, number))
        gap = _GAP + lane * max(0, number - 1)
        side = max(map(_ports_width, (content.inputs, content.outputs)))
        upper = max(_layers_height(content), *map(_ports_height, (content.inputs, content.outputs)))
        model = Box(
            _MARGIN + side + gap,
            _MARGIN,
            _model_width(content),
            upper + (_PIN * number + _PAD if number else 0),
            "model",
        )
        self._boxes.append(model)
        self._layers(model, (upper - _layers_height(content)) / 2)
        self._ports(content.inputs, _MARGIN, side, upper, model.x)
        self._ports(content.outputs, model.right + gap, side, upper, model.right)
        bottom = self._states(model, _MARGIN + upper, lane)
        width = model.right + gap + side + _MARGIN
        for index, part in enumerate(_wrap(_plain(content.note), width - 2 * _MARGIN)):
            bottom += _LINE if index else 1.6 * _LINE
            self._text(width / 2, bottom, part, "note", "middle")
        return Picture(
            title=_plain(f"{content.name}: inputs, layers, outputs and states"),
            description=_plain(content.description),
            width=width,
            height=bottom + _MARGIN,
            boxes=tuple(self._boxes),
            lines=tuple(self._lines),
            texts=tuple(self._texts),
        )

    def _text(
        self, x: float, y: float, text: str, style: TextStyle, anchor: Anchor = "start"
    ) -> None:
        whole = _plain(text)
        self._texts.append(Text(x, y, _shown(whole, style), style, anchor, whole))

    def _layers(self, model: Box, above: float) -> None:
        """Draw the model's name and its layers, `above` pixels below the edge of its box."""
        middle = model.center[0]
        y = model.y + above + _PAD + 16
        self._text(middle, y, self._content.name, "title", "middle")
        if self._content.files:
            y += _LINE
            self._text(middle, y, self._content.files, "note", "middle")
        y += _PAD
        for layer in self._content.layers:
            style: BoxStyle = "recurrent" if layer.is_recurrent else "layer"
            row = Box(model.x + _PAD, y, model.width - 2 * _PAD, _ROW, style)
            self._boxes.append(row)
            baseline = y + _ROW / 2 + 4.5
            self._text(row.x + 10, baseline, layer.kind, "kind")
            self._text(row.right - 10, baseline, layer.sizes, "shape", "end")
            y += _ROW + _ROW_SPACE

    def _ports(
        self, ports: Sequence[PortLabel], x: float, width: float, upper: float, edge: float
    ) -> None:
        """Draw the boxes of inputs or outputs, and an arrow between each and the model's edge."""
        y = _MARGIN + (upper - _ports_height(ports)) / 2
        for port in ports:
            box = Box(x, y, width, _port_height(port), "state-port" if port.is_state else "port")
            self._boxes.append(box)
            self._text(x + _PAD, y + 21, port.name, "pin" if port.is_state else "name")
            for index, line in enumerate(port.lines):
                self._text(x + _PAD, y + 21 + (index + 1) * _LINE, line, "shape")
            level = box.center[1]
            ends = ((box.right, level), (edge, level)) if x < edge else ((edge, level), (x, level))
            self._lines.append(Line(ends, "loop" if port.is_state else "data"))
            y = box.bottom + _SPACE

    def _states(self, model: Box, top: float, lane: float) -> float:
        """Draw the loop of each state; return the y below all.

        The first state's loop is the outermost one, so that no two of them cross.
        """
        states = self._content.states
        y = model.bottom + _SPACE + _PAD
        bottom = model.bottom
        for index, state in reversed(list(enumerate(states))):
            pin = top + _PIN * (index + 0.5)
            out = 24.0 + lane * (len(states) - 1 - index)
            box = Box(model.x, y, model.width, 2 * _LINE + 10, "state")
            self._boxes.append(box)
            middle, level = box.center
            self._text(middle, y + 19, f"{shorten(state.name)} {state.start}", "note", "middle")
            self._text(middle, y + 19 + _LINE, state.shape, "shape", "middle")
            self._text(model.x + _PAD, pin + 4.5, state.input, "pin")
            self._text(model.right - _PAD, pin + 4.5, state.output, "pin", "end")
            right, left = model.right + out, model.x - out
            self._lines += [
                Line(
                    ((model.right, pin), (right, pin), (right, level), (box.right, level)), "loop"
                ),
                Line(((box.x, level), (left, level), (left, pin), (model.x, pin)), "loop"),
            ]
            y = box.bottom + _SPACE
            bottom = box.bottom
        return bottom


# --- sizes ----------------------------------------------------------------------------------------


def _ports_width(ports: Sequence[PortLabel]) -> float:
    names = [_width(port.name, "name") for port in ports]
    lines = [_width(line, "shape") for port in ports for line in port.lines]
    return max([*names, *lines], default=0.0) + 2 * _PAD


def _ports_height(ports: Sequence[PortLabel]) -> float:
    return sum(map(_port_height, ports)) + _SPACE * (len(ports) - 1)


def _port_height(port: PortLabel) -> float:
    return _LINE * (1 + len(port.lines)) + 14


def _model_width(content: Content) -> float:
    layers = [
        _width(layer.kind, "kind") + _width(layer.sizes, "shape") + 2 * _PAD
        for layer in content.layers
    ]
    states = [
        max(
            _width(state.shape, "shape"),
            _width(f"{shorten(state.name)} {state.start}", "note"),
            _width(state.input, "pin") + _width(state.output, "pin") + 2 * _PAD,
        )
        for state in content.states
    ]
    heads = [_width(content.name, "title"), _width(content.files, "note")]
    return max(_LEAST_MODEL, *(width + 4 * _PAD for width in [*layers, *states, *heads]))


def _layers_height(content: Content) -> float:
    files = _LINE if content.files else 0.0
    return 3 * _PAD + 16 + files + (_ROW + _ROW_SPACE) * len(content.layers)


def _width(text: str, style: TextStyle) -> float:
    return text_width(_shown(_plain(text), style), style)
