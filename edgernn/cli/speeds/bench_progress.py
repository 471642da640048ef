"""How far `edgernn bench` is: a line that moves between rounds, never while a call is timed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from edgernn.cli.terminal_notes import note, terminal, verbosity

__all__ = ["show_progress"]

_REDRAW_S = 0.1


@contextlib.contextmanager
def show_progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Show on standard error what is measured and how much is done, where that is a terminal.

    Args:
        total: The number of measurements.

    Yields:
        `show(text)`, to call before each measurement, and `tick()`, to call between rounds. With
        --verbose, the texts stay.
    """
    console = terminal()
    if verbosity() == "verbose" or console is None:
        yield (note if verbosity() == "verbose" else lambda _: None), lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        redirect_stdout=False,
        auto_refresh=False,  # a thread that draws would take part in what is timed
    ) as progress:
        task, begun, drawn = progress.add_task("", total=total), 0, 0.0

        def show(text: str) -> None:
            nonlocal begun
            progress.update(task, description=text, completed=begun, refresh=True)
            begun += 1

        def tick() -> None:
            nonlocal drawn
            if time.monotonic() - drawn > _REDRAW_S:
                drawn = time.monotonic()
                progress.refresh()

        yield show, tick
