"""What edgernn is doing: a line that moves on a terminal, and lines that stay with `--verbose`."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from edgernn.cli.terminal_notes import terminal, verbosity
from edgernn.untrusted_text import escape_unprintable

__all__ = ["show_stages"]

_COUNT = re.compile(r": (\d+) of (\d+)$")


@contextlib.contextmanager
def show_stages(first: str) -> Iterator[Callable[[], float]]:
    """Show on standard error the stages that edgernn logs within the block.

    A message of level INFO is a stage: its name, or `name: progress`. One of level DEBUG is a
    detail of the stage, shown with --verbose only. What a model prints meanwhile goes to standard
    error too.

    Args:
        first: The stage before the first message, such as `loading PyTorch`.

    Yields:
        What returns the seconds since the block began.
    """
    began = time.monotonic()
    with _moving_line(first) as show:
        stages = _StageHandler(show)
        stages.begin(first)
        with _listening(stages), contextlib.redirect_stdout(sys.stderr):
            yield lambda: time.monotonic() - began
        stages.end()


class _StageHandler(logging.Handler):
    """Shows the stages that are logged, and with --verbose prints them with their times."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._is_verbose = verbosity() == "verbose"
        super().__init__(logging.DEBUG if self._is_verbose else logging.INFO)
        self._stream = sys.stderr  # as it is now: within the export it is replaced at times
        self._show = show
        self._stage = ""
        self._began = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message."""
        text = record.getMessage()
        if record.levelno < logging.INFO:
            self._print(f"  {text}")
            return
        self.begin(text.partition(": ")[0])
        self._show(text)

    def begin(self, stage: str) -> None:
        """Go on to a stage, unless it is the present one."""
        if stage == self._stage:
            return
        self.end()
        self._stage, self._began = stage, time.monotonic()
        self._show(stage)
        if self._is_verbose:
            self._print(stage)

    def end(self) -> None:
        """Print the time of the present stage."""
        if self._stage and self._is_verbose:
            self._print(f"  took {time.monotonic() - self._began:.2f} s")

    def _print(self, text: str) -> None:
        click.echo(escape_unprintable(text), self._stream)


@contextlib.contextmanager
def _listening(handler: logging.Handler) -> Iterator[None]:
    """Give edgernn's messages to a handler."""
    logger = logging.getLogger("edgernn")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextlib.contextmanager
def _moving_line(text: str) -> Iterator[Callable[[str], None]]:
    """Show a text with the elapsed time where that is possible; yield what changes the text."""
    console = terminal()
    if console is None:
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    class CountBar(BarColumn):
        """A bar where the stage says how much of it is done, else nothing."""

        def render(self, task: Any) -> Any:
            return super().render(task) if task.total else ""

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        CountBar(bar_width=12),
        console=console,
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task = progress.add_task(text, total=0)

        def show(text: str) -> None:
            found = _COUNT.search(text)
            done, total = map(int, found.groups()) if found else (0, 0)
            progress.update(task, description=text, completed=done, total=total)

        yield show
