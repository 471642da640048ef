"""The picture of `edgernn bench`: bars of the times of calls, beside torch and the limit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import blended_transform_factory

from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.speeds.measure_speeds import Bench, cell_label
from edgernn.cli.speeds.speed_text import number_text, share_phrase, time_text
from edgernn.runtime.measure.machine import machine_name
from edgernn.runtime.measure.speed import Speed
from edgernn.runtime.measure.timing import Times

__all__ = ["draw_speeds", "save_figure"]

_BLUE, _ORANGE, _DARK, _GREY = "#0072B2", "#E69F00", "#000000", "#555555"  # Okabe and Ito's
_SETTINGS: Any = {
    "text.parse_math": False,
    "svg.hashsalt": "edgernn",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "font.size": 10,
}
_WIDTH = 11.0  # inches, as all lengths here
_LARGE_RATIO = 20
_BAR = 0.36
_METADATA: Any = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def save_figure(bench: Bench, target: OutputFile) -> None:
    """Draw what was measured, and write it in the format of the file's name."""
    suffix = target.path.suffix
    threads = bench.options.threads
    title = f"{bench.path.resolve().name}: time of one call"
    machine = f"{machine_name()}; {threads} thread{'s' if threads > 1 else ''} used"
    with rc_context(_SETTINGS), target.open() as opened:
        figure = draw_speeds(bench.speeds, title, machine)
        figure.savefig(opened.stream, format=suffix[1:], dpi=150, metadata=_METADATA[suffix])


@rc_context(_SETTINGS)
def draw_speeds(speeds: Sequence[Speed], title: str, machine: str) -> Figure:
    """Return the bars of all cells, the first at the top.

    Args:
        speeds: What was measured.
        title: The title.
        machine: Where it was measured.
    """
    rows = 2 if any(speed.eager for speed in speeds) else 1
    height = 1.7 + len(speeds) * (0.3 + 0.22 * rows)
    figure = Figure((_WIDTH, height), layout="constrained")
    figure.suptitle(f"{title}\n{textwrap.fill(machine, 100)}", x=0.01, ha="left", fontsize="medium")
    axes = figure.subplots()
    for place, speed in enumerate(speeds):
        _draw_cell(axes, place, speed)
    axes.set_yticks(range(len(speeds)), [cell_label(speed.cell) for speed in speeds])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(speeds) - 0.5, -0.5)
    _scale(axes, speeds)
    axes.set_xlabel("time of one call: the median, and a line to the 99th percentile")
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(
        unique.values(), unique.keys(), loc="outside lower left", ncols=3, fontsize="small"
    )
    return figure


def _draw_cell(axes: Axes, place: int, speed: Speed) -> None:
    """Draw the bars of a cell, torch's above, and the limit across them."""
    bars = [("edgernn", _BLUE, speed.times)]
    if speed.eager is not None:
        bars.insert(0, ("eager torch", _ORANGE, speed.eager))
    top = place - _BAR * (len(bars) - 1) / 2
    for row, (name, colour, times) in enumerate(bars):
        y = top + row * _BAR
        axes.barh(y, times.median, _BAR * 0.9, color=colour, label=name)
        axes.plot([times.median, times.percentile(99)], [y, y], color=_GREY, linewidth=1)
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        text = _bar_text(name, speed, times)
        axes.text(1.01, y, text, transform=beside, va="center", fontsize="small")
    ends = (top - _BAR / 2, top + (len(bars) - 0.5) * _BAR)
    limit = [speed.bound.seconds] * 2
    axes.plot(limit, ends, color=_DARK, linewidth=2, label="limit of the machine")


def _bar_text(name: str, speed: Speed, times: Times) -> str:
    if name != "edgernn":
        return time_text(times.median)
    faster = f" {number_text(speed.speedup, 2)} × as fast as torch," if speed.eager else ""
    return f"{time_text(times.median)},{faster} {share_phrase(speed)}"


def _scale(axes: Axes, speeds: Sequence[Speed]) -> None:
    """Scale the axis of time: logarithmic where times differ much."""
    ends = [times.percentile(99) for one in speeds for times in (one.times, one.eager) if times]
    low = min(min(one.times.median, one.bound.seconds) for one in speeds)
    high = max(ends)
    if high > _LARGE_RATIO * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 2, high * 1.1)
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, 1.05 * high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(seconds: float) -> str:
    """Return the time of a tick in its unit, without zeros that say nothing."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale * 0.999999:
            return f"{seconds / scale:g} {unit}"
    return f"{seconds * 1e9:g} ns" if seconds > 0 else "0"
