"""What a picture shows: panels, curves, images, symbols, and where the data ends."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.axes import Axes

from edgernn.cli.plot.plot_figure import Picture
from edgernn.cli.plot.plot_series import Series


def series(name: str, features: int, steps: int = 10, **kind: bool) -> Series:
    one = Series(name, features, **kind)
    one.add(0, np.arange(steps * features).reshape(steps, features) % 3)
    one.flush()
    return one


def panels(picture: Picture) -> list[Axes]:
    """Return the panels without their colour bars."""
    return [axes for axes in picture.draw().axes if axes.get_title("left")]


def styles(axes: Axes) -> list[str]:
    return [str(line.get_linestyle()) for line in axes.lines]


def test_curves() -> None:
    """Few features are curves, with a legend where they are several."""
    x, y = series("x", 2, is_input=True), series("output", 1)
    above, below = panels(Picture("net on x.csv", [x, y], {"x": ["a", "b"], "output": ["y"]}, 10))
    legend = above.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert (styles(above), styles(below)) == (["-", "-"], ["-"])
    assert [axes.get_title("left") for axes in (above, below)] == ["input x", "output"]
    assert (below.get_legend(), below.get_ylabel(), below.get_xlabel()) == (None, "y", "step")


def test_axis_of_time() -> None:
    """Steps of any length are placed on one axis, in seconds or in steps of the output."""
    x, frames = series("x", 1, is_input=True), Series("y", 1, length=5)
    frames.add(0, np.zeros((2, 1)))
    frames.flush()
    labels = {"x": ["x"], "y": ["y"]}
    above, below = panels(Picture("", [x, frames], labels, 10, unit=20, label="seconds"))
    assert np.asarray(above.lines[0].get_xdata()).tolist() == [i / 20 for i in range(10)]
    assert np.asarray(below.lines[0].get_xdata()).tolist() == [0, 0.25]
    assert (below.get_xlabel(), below.get_xlim()) == ("seconds", (-0.025, 0.475))


def test_generated_steps_are_dashed() -> None:
    """What the model generated is dashed, after a dotted line."""
    (axes,) = panels(Picture("", [series("y", 1)], {"y": ["y"]}, 10, generated=3))
    data, generated, boundary = axes.lines
    assert styles(axes) == ["-", "--", ":"]
    assert np.asarray(data.get_xdata()).tolist() == list(range(7))
    assert np.asarray(generated.get_xdata()).tolist() == [6, 7, 8, 9]
    assert np.asarray(boundary.get_xdata()).tolist() == [6.5, 6.5]
    assert [text.get_text() for text in axes.texts] == ["generated"]


def test_many_features_are_an_image() -> None:
    """More features than there are colours are rows of an image, with their names."""
    names = [f"y_{index}" for index in range(8)]
    (axes,) = panels(Picture("", [series("y", 8)], {"y": names}, 10))
    (image,) = axes.collections
    values = image.get_array()
    assert values is not None
    assert values.shape == (8, 10)
    assert [label.get_text() for label in axes.get_yticklabels()] == names


@pytest.mark.parametrize("steps", [80, 81])
def test_symbols(steps: int) -> None:
    """Ids are their symbols, or points where the symbols would be too small."""
    ids = series("ids", 1, steps, is_input=True, is_ids=True)
    (axes,) = panels(Picture("", [ids], {"ids": ["ids"]}, steps, symbols="abc"))
    if steps == 80:
        assert "".join(text.get_text() for text in axes.texts) == ("abc" * 27)[:80]
    else:
        (line,) = axes.lines
        assert (line.get_linestyle(), line.get_marker()) == ("None", ".")


@pytest.mark.parametrize(
    ("format_", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_same_picture_is_same_bytes(format_: str, start: bytes) -> None:
    """A picture has no date, and names are no formulas."""
    files = []
    for _ in range(2):
        stream = io.BytesIO()
        Picture("$x_$ on ü", [series("x", 2)], {"x": ["$a$", "中"]}, 10).save(stream, format_)
        files.append(stream.getvalue())
    assert files[0].startswith(start)
    assert files[0] == files[1]


def test_long_runs_show_peaks() -> None:
    """Of a run that is longer than the picture is wide, the curve goes through the peaks."""
    one = Series("y", 1)
    values = np.zeros((100_000, 1))
    values[12_345], values[54_321] = 5, -7
    one.add(0, values)
    one.flush()
    (axes,) = panels(Picture("", [one], {"y": ["y"]}, 100_000))
    drawn = np.asarray(axes.lines[0].get_ydata())
    assert (drawn.max(), drawn.min(), len(drawn) <= 4096) == (5, -7, True)
