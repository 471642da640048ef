"""A picture as SVG: whole, well-formed, safe and readable."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from edgernn.artifact import Artifact
from edgernn.cli.picture.graph_content import Content, artifact_content
from edgernn.cli.picture.graph_layout import lay_out
from edgernn.cli.picture.svg_picture import COLOURS, svg_of
from tests.cli.picture.drawn_models import HOSTILE, LONG, MODELS, contents

SVG = "{http://www.w3.org/2000/svg}"
EXPECTED = Path(__file__).with_name("two_states.svg")


def drawn(artifact: Artifact) -> str:
    return svg_of(lay_out(artifact_content(artifact)))


def test_whole() -> None:
    """The picture of a model with two states, byte for byte."""
    assert drawn(MODELS["two states"]) == EXPECTED.read_text("utf-8")


@pytest.mark.parametrize("artifact", MODELS.values(), ids=MODELS)
def test_well_formed(artifact: Artifact) -> None:
    """Every picture is XML with a title and a description, of few elements without any links."""
    root = ET.fromstring(drawn(artifact))
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert [child.tag for child in root][:3] == [f"{SVG}title", f"{SVG}desc", f"{SVG}style"]
    known = {"svg", "title", "desc", "style", "rect", "path", "polygon", "text"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= known
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}


@given(contents)
def test_any_texts(content: Content) -> None:
    """Whatever the texts, the file is XML that has the whole description."""
    picture = lay_out(content)
    assert ET.fromstring(svg_of(picture)).findtext(f"{SVG}desc", "") == picture.description


def test_hostile_names_are_text() -> None:
    """Markup in a name is text, and control characters are written as escapes."""
    svg = drawn(MODELS["hostile layers"])
    assert "<script" not in svg
    assert "\x1b" not in svg
    title = ET.fromstring(svg).findtext(f"{SVG}title")
    escaped = HOSTILE.replace("\x1b", "\\x1b").replace("\n", " ")
    assert title == f"{escaped.rpartition('/')[2]}: inputs, layers, outputs and states"


def test_long_names_are_whole_as_title() -> None:
    """A shortened name has the whole one as a tooltip."""
    root = ET.fromstring(drawn(MODELS["long names"]))
    titles = {title.text for text in root.iter(f"{SVG}text") for title in text}
    assert titles >= {LONG, f"{LONG}_in", f"{LONG}_out"}


def luminance(colour: str) -> float:
    """Return the relative luminance that WCAG 2 defines."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *((front, "model", 4.5) for front in ("text", "quiet", "loop")),
        *((front, "page", 4.5) for front in ("quiet",)),
        *((front, "port", 4.5) for front in ("text", "quiet")),
        *((front, "layer", 4.5) for front in ("text", "quiet")),
        *((front, "recurrent", 4.5) for front in ("text", "quiet")),
        *((front, "state", 4.5) for front in ("quiet", "loop")),
        *((front, "page", 3.0) for front in ("edge", "loop")),
    ],
)
def test_contrast(front: str, back: str, least: float, scheme: int) -> None:
    """Text has a contrast of 4.5 to what is behind it, lines 3, in light and in dark."""
    dark, light = sorted(luminance(COLOURS[name][scheme]) for name in (front, back))
    assert (light + 0.05) / (dark + 0.05) >= least
