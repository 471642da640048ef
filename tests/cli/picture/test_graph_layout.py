"""Where everything in a picture is: nothing overlaps, and nothing is outside."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given

from edgernn.cli.picture.graph_content import Content, artifact_content
from edgernn.cli.picture.graph_layout import lay_out
from edgernn.cli.picture.picture_parts import Box, Picture
from tests.cli.picture.drawn_models import MODELS, contents

PICTURES = {name: lay_out(artifact_content(artifact)) for name, artifact in MODELS.items()}
every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.right
        and other.x < one.right
        and one.y < other.bottom
        and other.y < one.bottom
    )


def inside(point: tuple[float, float], box: Box) -> bool:
    return box.x < point[0] < box.right and box.y < point[1] < box.bottom


@every_picture
def test_boxes_do_not_overlap(picture: Picture) -> None:
    """Rows of layers are in the model's box, and no other box meets another."""
    rows = [box for box in picture.boxes if box.style in ("layer", "recurrent")]
    others = [box for box in picture.boxes if box not in rows]
    (model,) = (box for box in others if box.style == "model")
    assert all(
        model.x < row.x
        and row.right < model.right
        and model.y < row.y
        and row.bottom < model.bottom
        for row in rows
    )
    assert not any(overlap(*pair) for pair in combinations(rows, 2))
    assert not any(overlap(*pair) for pair in combinations(others, 2))


def check_margins(picture: Picture) -> None:
    """Check that boxes, lines and texts have a margin on every side."""
    spans = [(box.x, box.right) for box in picture.boxes]
    spans += [(x, x) for line in picture.lines for x, _ in line.points]
    spans += [text.span for text in picture.texts]
    levels = [y for box in picture.boxes for y in (box.y, box.bottom)]
    levels += [y for line in picture.lines for _, y in line.points]
    levels += [text.y for text in picture.texts]
    margin = 20 - 1e-6  # numbers are rounded
    assert all(margin <= start <= end <= picture.width - margin for start, end in spans)
    assert all(margin <= y <= picture.height - margin for y in levels)


@every_picture
def test_nothing_is_outside(picture: Picture) -> None:
    """All that is drawn has a margin on every side."""
    check_margins(picture)


@every_picture
def test_texts_are_in_their_boxes(picture: Picture) -> None:
    """A text that starts in a box ends in it, and no text meets another."""
    for text in picture.texts:
        start, end = text.span
        for box in picture.boxes:
            if inside(((start + end) / 2, text.y), box):
                assert box.x < start
                assert end < box.right
    for one, other in combinations(picture.texts, 2):
        if abs(one.y - other.y) < 12:
            assert one.span[1] < other.span[0] or other.span[1] < one.span[0]


@every_picture
def test_lines_pass_no_box(picture: Picture) -> None:
    """A line touches boxes at their edges only, and is horizontal or vertical."""
    for line in picture.lines:
        for (x, y), (next_x, next_y) in zip(line.points, line.points[1:], strict=False):
            assert x == next_x or y == next_y
            half = ((x + next_x) / 2, (y + next_y) / 2)
            assert not any(inside(half, box) for box in picture.boxes)


@pytest.mark.parametrize("name", ["one state", "two states", "12 states"])
def test_loops_do_not_cross(name: str) -> None:
    """Each state has a line to its box and one back, and no two lines meet."""
    loops = [line for line in PICTURES[name].lines if line.style == "loop"]
    assert len(loops) == 2 * len(MODELS[name].contract.states)
    pieces = [
        Box(
            min(a[0], b[0]) - 1,
            min(a[1], b[1]) - 1,
            abs(a[0] - b[0]) + 2,
            abs(a[1] - b[1]) + 2,
            "state",
        )
        for line in loops
        for a, b in zip(line.points, line.points[1:], strict=False)
    ]
    owners = [line for line in loops for _ in line.points[1:]]
    for (one, mine), (other, theirs) in combinations(zip(pieces, owners, strict=True), 2):
        assert mine is theirs or not overlap(one, other)


def test_loops_run_from_output_to_input() -> None:
    """A loop leaves the model beside `h_out` and comes back beside `h_in`."""
    picture = PICTURES["one state"]
    (model,) = (box for box in picture.boxes if box.style == "model")
    (state,) = (box for box in picture.boxes if box.style == "state")
    away, back = (line for line in picture.lines if line.style == "loop")
    assert (away.points[0][0], away.points[-1][0]) == (model.right, state.right)
    assert (back.points[0][0], back.points[-1][0]) == (state.x, model.x)
    levels = {text.shown: text.y for text in picture.texts}
    assert away.points[0][1] == pytest.approx(levels["h_out"], abs=5)
    assert back.points[-1][1] == pytest.approx(levels["h_in"], abs=5)


@every_picture
def test_every_port_and_state_is_in_it(picture: Picture) -> None:
    """Each name is a text, whole or shortened in its middle."""
    (artifact,) = (MODELS[name] for name in MODELS if PICTURES[name] is picture)
    whole = {text.whole for text in picture.texts}
    for graph in artifact.contract.graphs.values():
        assert {port.name for port in (*graph.inputs, *graph.outputs)} <= whole


@given(contents)
def test_any_texts(content: Content) -> None:
    """Whatever the texts and however many ports, nothing is outside."""
    check_margins(lay_out(content))


def test_long_names_lose_their_middle() -> None:
    """A name of 99 characters is shown with its start and end."""
    shown = [text.shown for text in PICTURES["long names"].texts if text.shown != text.whole]
    assert shown[0] == "encoder_encoder_e…coder_encoder_rnn"
    assert all(len(text) == 35 for text in shown)
