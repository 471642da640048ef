"""The bars of `edgernn bench`: what is drawn, how it is scaled and named."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from edgernn.cli.speeds.speed_figure import draw_speeds
from edgernn.runtime.measure.speed import Cell, Speed
from tests.cli.speeds.speed_examples import speed


def drawn(*speeds: Speed) -> tuple[Figure, Axes]:
    """Return the picture and its axes."""
    figure = draw_speeds(speeds, "net.edgernn: time of one call", "A processor, 2 cores")
    (axes,) = figure.axes
    return figure, axes


def widths(axes: Axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]


def test_bars_beside_torch_and_the_limit() -> None:
    """Torch's bar is above, with the time of each and the ratio beside them."""
    figure, axes = drawn(speed(1e-5, torch=5e-5, limit=4e-6))
    assert widths(axes) == [5e-5, 1e-5]
    assert [text.get_text() for text in axes.texts] == [
        "50.0 µs",
        "10.0 µs, 5.0 × as fast as torch, 40 % of the cache's bandwidth",
    ]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert sorted(names) == ["eager torch", "edgernn", "limit of the machine"]
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] == 0


def test_without_torch() -> None:
    """One bar for each size, and no ratio."""
    _, axes = drawn(speed(1e-5, limit=4e-6), speed(1.5e-5, limit=4e-6))
    assert widths(axes) == [1e-5, 1.5e-5]
    assert axes.texts[0].get_text() == "10.0 µs, 40 % of the cache's bandwidth"


def test_times_that_differ_much() -> None:
    """They are on a logarithmic axis that has every bar and every limit."""
    _, axes = drawn(speed(1e-5, limit=1e-7), speed(1e-3, torch=5e-2, limit=1e-5))
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < 1e-7
    assert high > 5e-2


def test_cells_are_named() -> None:
    """A label has the size, and the precision and the provider where they were chosen."""
    cells = (Cell("", "cpu", 1, 1), Cell("int8", "cuda", 1024, 100))
    _, axes = drawn(*(speed(cell=cell) for cell in cells))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "batch 1, chunk 1",
        "batch 1,024, chunk 100, int8, cuda",
    ]


def test_many_cells_have_room() -> None:
    """The picture grows with the number of cells."""
    few, many = (draw_speeds([speed(torch=1e-4)] * count, "", "") for count in (2, 40))
    assert many.get_figheight() - few.get_figheight() > 38 * 0.7
