"""A picture of a model as SVG, in light and dark colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree as ET

from edgernn.cli.picture.picture_parts import BOLD, FONT_SIZES, MONOSPACED, Line, Picture, Text

__all__ = ["COLOURS", "svg_of"]

COLOURS: Mapping[str, tuple[str, str]] = {
    "page": ("#ffffff", "#0d1117"),
    "frame": ("#d0d7de", "#30363d"),
    "edge": ("#818b98", "#6e7681"),
    "port": ("#f6f8fa", "#161b22"),
    "model": ("#ffffff", "#0d1117"),
    "layer": ("#eff2f5", "#21262d"),
    "recurrent": ("#ddf4ff", "#10294a"),
    "state": ("#ddf4ff", "#10294a"),
    "text": ("#1f2328", "#e6edf3"),
    "quiet": ("#57606a", "#9ea7b3"),
    "loop": ("#0550ae", "#79c0ff"),
}
"""Name of a colour → what it is in light and in dark."""

_SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif'
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"

_COLOURED: Mapping[str, Mapping[str, str]] = {
    "page": {"fill": "page", "stroke": "frame"},
    "port": {"fill": "port", "stroke": "edge"},
    "state-port": {"fill": "state", "stroke": "loop"},
    "model": {"fill": "model", "stroke": "edge"},
    "layer": {"fill": "layer"},
    "recurrent": {"fill": "recurrent"},
    "state": {"fill": "state", "stroke": "loop"},
    "data": {"stroke": "edge"},
    "data-head": {"fill": "edge"},
    "loop": {"stroke": "loop"},
    "loop-head": {"fill": "loop"},
    "title": {"fill": "text"},
    "note": {"fill": "quiet"},
    "kind": {"fill": "text"},
    "name": {"fill": "text"},
    "shape": {"fill": "quiet"},
    "pin": {"fill": "loop"},
}
"""Class of an element → its colours, which differ in light and dark."""

_UNCOLOURED: Mapping[str, str] = {
    "model": "stroke-width: 1.5",
    "line": "fill: none; stroke-width: 1.5",
    "state-port": "stroke-dasharray: 5 3",
}
_CORNER = 8.0
_HEAD = (9.0, 4.0)


def svg_of(picture: Picture) -> str:
    """Return a picture as the text of an SVG file."""
    size = {"width": _number(picture.width), "height": _number(picture.height)}
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "edgernn",
            "viewBox": f"0 0 {size['width']} {size['height']}",
            **size,
            "role": "img",
        },
    )
    ET.SubElement(svg, "title").text = picture.title
    ET.SubElement(svg, "desc").text = picture.description
    ET.SubElement(svg, "style").text = _style()
    _rectangle(svg, "page", 0.5, 0.5, picture.width - 1, picture.height - 1)
    for box in picture.boxes:
        _rectangle(svg, box.style, box.x, box.y, box.width, box.height)
    for line in picture.lines:
        _add_line(svg, line)
    for text in picture.texts:
        _add_text(svg, text)
    ET.indent(svg)
    return ET.tostring(svg, "unicode") + "\n"


def _style() -> str:
    """Return the style sheet; its colours are literal since not every viewer knows `var()`."""
    fonts = (
        f".edgernn .{style} {{ font: {'600 ' if style in BOLD else ''}{size}px "
        f"{_MONO if style in MONOSPACED else _SANS} }}"
        for style, size in FONT_SIZES.items()
    )
    rules = (f".edgernn .{name} {{ {rule} }}" for name, rule in _UNCOLOURED.items())
    dark = ("@media (prefers-color-scheme: dark) {", *_colour_rules(1), "}")
    return "\n".join(["", *fonts, *rules, *_colour_rules(0), *dark, ""])


def _colour_rules(scheme: int) -> Iterator[str]:
    for name, colours in _COLOURED.items():
        rule = "; ".join(f"{what}: {COLOURS[colour][scheme]}" for what, colour in colours.items())
        yield f".edgernn .{name} {{ {rule} }}"


def _rectangle(
    svg: ET.Element, style: str, x: float, y: float, width: float, height: float
) -> None:
    numbers = {"x": x, "y": y, "width": width, "height": height, "rx": 6.0}
    ET.SubElement(svg, "rect", {"class": style, **_numbers(numbers)})


def _add_line(svg: ET.Element, line: Line) -> None:
    (x, y), (before, _) = line.points[-1], line.points[-2]
    length, half = _HEAD
    back = x - length if before < x else x + length
    end = ((x + back) / 2, y)
    ET.SubElement(
        svg, "path", {"class": f"line {line.style}", "d": _path([*line.points[:-1], end])}
    )
    corners = ((x, y), (back, y - half), (back, y + half))
    points = " ".join(f"{_number(a)},{_number(b)}" for a, b in corners)
    ET.SubElement(svg, "polygon", {"class": f"{line.style}-head", "points": points})


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return the path through `points` with rounded corners."""
    parts = [f"M{_point(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        parts.append(f"L{_point(_near(corner, before))}")
        parts.append(f"Q{_point(corner)} {_point(_near(corner, after))}")
    return " ".join([*parts, f"L{_point(points[-1])}"])


def _near(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the point where the rounding of a corner towards `other` begins."""
    x, y = (
        here + max(-_CORNER, min(_CORNER, there - here))
        for here, there in zip(corner, other, strict=True)
    )
    return x, y


def _add_text(svg: ET.Element, text: Text) -> None:
    attributes = {"class": text.style, **_numbers({"x": text.x, "y": text.y})}
    if text.anchor != "start":
        attributes["text-anchor"] = text.anchor
    element = ET.SubElement(svg, "text", attributes)
    element.text = text.shown
    if text.shown != text.whole:
        title = ET.SubElement(element, "title")
        title.text, title.tail = text.whole, None


def _numbers(values: Mapping[str, float]) -> dict[str, str]:
    return {name: _number(value) for name, value in values.items()}


def _point(point: tuple[float, float]) -> str:
    return " ".join(map(_number, point))


def _number(value: float) -> str:
    """Return a number of pixels with one digit after the point at most."""
    return f"{round(value, 1):g}"
