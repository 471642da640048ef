"""Notes and progress on standard error, as much as `--quiet` and `--verbose` ask for."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import click

from edgernn.untrusted_text import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "next_command",
    "note",
    "steps_bar",
    "terminal",
    "verbosity",
    "verbosity_options",
    "wrapped",
]

Command = TypeVar("Command", bound=Callable[..., None])
Verbosity = Literal["quiet", "normal", "verbose"]

_META_KEY = "edgernn.verbosity"


def verbosity_options(command: Command) -> Command:
    """Add -q/--quiet and -v/--verbose to a command, which takes no parameter for them."""
    settings: dict[str, Any] = {"expose_value": False, "is_eager": True, "callback": _set_verbosity}
    quiet, verbose = "Print results and errors only.", "Print the stages, their times and details."
    command = click.option("-v", "--verbose", is_flag=True, help=verbose, **settings)(command)
    return click.option("-q", "--quiet", is_flag=True, help=quiet, **settings)(command)


def _set_verbosity(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    if given and param.name is not None:
        ctx.meta[_META_KEY] = param.name


def verbosity() -> Verbosity:
    """Return what the command line asked for."""
    context = click.get_current_context(silent=True)
    chosen: Verbosity = "normal" if context is None else context.meta.get(_META_KEY, "normal")
    return chosen


def note(text: str) -> None:
    """Write a line to standard error; with --quiet, nothing."""
    _write(wrapped(escape_unprintable(text), sys.stderr))


def next_command(text: str) -> None:
    """Note the command to try next: `next    edgernn run …`, in one line that can be copied."""
    _write(f"next    {escape_unprintable(text)}")


def _write(text: str) -> None:
    if verbosity() != "quiet":
        click.echo(text, err=True)


def wrapped(text: str, stream: IO[str] | None) -> str:
    """Return a text with lines that do not fit into a terminal broken between words.

    What follows a break is indented by 8, as the texts of facts are. For a file or a pipe, the
    lines stay whole.
    """
    if stream is None or not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    fit = textwrap.TextWrapper(
        width, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(map(fit.fill, text.splitlines()))


@contextlib.contextmanager
def steps_bar(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Show how many steps are done, on standard error where that is a terminal, not with --quiet.

    The bar vanishes at the end. Nothing may be written to a terminal by standard output meanwhile:
    results that appear there show the progress themselves.

    Args:
        total: The number of steps, or None where it is unknown.
        what: What the steps are, such as `steps`.

    Yields:
        `advance(n)`, to call after every `n` steps.
    """
    console = terminal()
    if console is None:
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    count = "{task.completed:,}" if total is None else "{task.completed:,} of {task.total:,}"
    with Progress(
        BarColumn(bar_width=None),
        TextColumn(f"{count} {{task.description}}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


def terminal() -> Console | None:
    """Return standard error as a terminal that can be drawn on; None where nothing may move."""
    if verbosity() == "quiet" or sys.stderr is None or not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(file=sys.stderr, highlight=False)
    return None if console.is_dumb_terminal else console
