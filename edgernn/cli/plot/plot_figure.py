"""A picture of a run: its inputs above its outputs, over the steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from edgernn.cli.plot.plot_series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Picture"]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind people can distinguish, without the yellow."""

_MOST_MARKERS = 40
_MOST_LABELS = 100
_MOST_SYMBOLS = 80
_WIDTH = 10.0  # inches, as all lengths here
_SETTINGS: Any = {
    "text.parse_math": False,
    "svg.hashsalt": "edgernn",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "font.size": 10,
}
_METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


@dataclass(frozen=True)
class Picture:
    """What is drawn: one panel per port, at most 7 features as curves and more as an image.

    Attributes:
        title: The line above the panels.
        series: The values of each port.
        labels: Port → the names of its features.
        steps: The number of all steps.
        generated: The number of steps at the end that the model generated.
        symbols: The symbols of ids, in the order of the ids; empty where ids have none.
        unit: The steps of the input in one unit of the axis of time.
        label: The name of that axis.
    """

    title: str
    series: Sequence[Series]
    labels: Mapping[str, Sequence[str]]
    steps: int
    generated: int = 0
    symbols: Sequence[str] = ()
    unit: float = 1
    label: str = "step"

    def save(self, stream: IO[bytes], format_: str) -> None:
        """Write the picture as `png`, `svg` or `pdf`; the same picture is the same bytes."""
        with rc_context(_SETTINGS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure = self.draw()
            figure.savefig(stream, format=format_, dpi=150, metadata=dict(_METADATA[format_]))

    @rc_context(_SETTINGS)
    def draw(self) -> Figure:
        """Return the panels, one below the other."""
        heights = [self._height(one) for one in self.series]
        figure = Figure((_WIDTH, sum(heights) + 0.6), layout="constrained")
        figure.suptitle(self.title, x=0.01, ha="left", fontsize="large")
        panels = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
        for axes, series in zip(panels[:, 0], self.series, strict=True):
            axes.set_title(_panel_title(series))
            if self._is_text(series):
                self._draw_text(axes, series)
            elif _is_image(series):
                self._draw_image(axes, series)
            else:
                self._draw_curves(axes, series)
            self._draw_boundary(axes, "white" if _is_image(series) else "#555555")
        lowest = panels[-1, 0]
        lowest.set_xlabel(self.label)
        if "step" in self.label:
            lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
            lowest.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        lowest.set_xlim(-0.5 / self.unit, (self.steps - 0.5) / self.unit)
        return figure

    def _places(self, series: Series) -> NDArray[Any]:
        """Return where each interval of a port begins on the axis of time."""
        return series.starts * series.length / self.unit

    def _height(self, series: Series) -> float:
        """Return the height of a panel in inches."""
        if self._is_text(series):
            return 0.4 + 0.08 * max(map(len, self.symbols))
        return min(max(2.4, 0.1 * series.kept), 7.5) if _is_image(series) else 2.4

    def _is_text(self, series: Series) -> bool:
        """Return whether a port is drawn as the symbols of its ids."""
        return series.is_ids and bool(self.symbols) and self.steps <= _MOST_SYMBOLS

    def _draw_text(self, axes: Axes, series: Series) -> None:
        """Write the symbol of each step, upright where symbols are words."""
        rotation = 90 if max(map(len, self.symbols)) > 2 else 0
        for step, (id_,) in zip(self._places(series).tolist(), series.low.astype(int), strict=True):
            axes.text(
                step, 0.5, self.symbols[int(id_)], rotation=rotation, ha="center", va="center"
            )
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)

    def _draw_curves(self, axes: Axes, series: Series) -> None:
        """Draw one curve per feature: solid for data, dashed for what the model generated."""
        labels, places = self.labels[series.name], self._places(series)
        split = int(np.searchsorted(series.starts, self.steps - self.generated))
        is_short = len(series.starts) <= _MOST_MARKERS
        marker = "." if is_short or series.is_ids else ""
        for feature, (label, colour) in enumerate(zip(labels, _COLOURS, strict=False)):
            style: Any = {"color": colour, "marker": marker, "linewidth": 1.2}
            if not np.array_equal(series.low, series.high):  # curves become bands
                style |= {"linewidth": 0.7, "alpha": 0.7}
            solid, dashed = ("", "") if series.is_ids else ("-", "--")
            data = _zigzag(places, series, feature, slice(0, split))
            axes.plot(*data, linestyle=solid, label=label, **style)
            if self.generated:
                generated = _zigzag(places, series, feature, slice(max(split - 1, 0), None))
                axes.plot(*generated, linestyle=dashed, **style)
        axes.margins(y=0.1)
        if len(labels) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.2)
        else:
            axes.set_ylabel(labels[0])

    def _draw_image(self, axes: Axes, series: Series) -> None:
        """Draw a row per feature, its colour the middle of each interval."""
        labels = self.labels[series.name]
        end = max(self.steps, series.steps * series.length) / self.unit
        edges = np.append(self._places(series), end) - 0.5 * series.length / self.unit
        rows = np.arange(series.kept + 1) - 0.5
        middle = (series.low + series.high).T / 2
        image = axes.pcolormesh(edges, rows, middle, cmap="viridis", rasterized=True)
        axes.figure.colorbar(image, ax=axes, label="value", pad=0.01, aspect=30)
        axes.invert_yaxis()
        if len(labels) <= _MOST_LABELS:
            axes.set_yticks(range(len(labels)), labels, fontsize="xx-small")
        else:
            axes.set_ylabel("feature")

    def _draw_boundary(self, axes: Axes, colour: str) -> None:
        """Draw a line between the data and what the model generated."""
        if not self.generated:
            return
        place = (self.steps - self.generated - 0.5) / self.unit
        is_narrow = self.generated < self.steps / 8
        axes.axvline(place, color=colour, linewidth=1.2, linestyle=":")
        axes.annotate(
            "generated →" if is_narrow else "generated",
            (place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if is_narrow else 4, 3),
            textcoords="offset points",
            ha="right" if is_narrow else "left",
            color="#555555",
            fontsize="small",
        )


def _is_image(series: Series) -> bool:
    return series.kept > len(_COLOURS)


def _panel_title(series: Series) -> str:
    role = "input" if series.is_input else "output"
    title = role if series.name == role else f"{role} {series.name}"
    if series.kept == series.features:
        return title
    return f"{title}, first {series.kept} of {series.features}"


def _zigzag(
    places: NDArray[Any], series: Series, feature: int, part: slice
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the points of a curve: through the lowest and the highest value of each interval."""
    starts, low, high = places[part], series.low[part, feature], series.high[part, feature]
    if np.array_equal(low, high):
        return starts, low
    return np.repeat(starts, 2), np.stack([low, high], 1).ravel()
