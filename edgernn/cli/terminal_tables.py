"""Tables as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edgernn.untrusted_text import escape_unprintable

__all__ = ["facts", "show", "table", "unbroken"]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table whose cells wrap and are never cut."""
    made = Table(
        title=_text(title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*map(_text, row))
    return made


def _text(content: str) -> Text:
    """Return a text of a file without characters that a terminal would obey."""
    return Text(escape_unprintable(content))


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """Return a grid of two columns: names and texts."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in pairs:
        grid.add_row(_text(name), _text(text))
    return grid


def unbroken(name: str, text: str) -> Text:
    """Return a fact in one line that is never broken, so that it can be copied."""
    return Text.assemble((escape_unprintable(name), "bold"), "  ", escape_unprintable(text))


def show(*parts: RenderableType) -> None:
    """Print to standard output with a blank line between parts."""
    console = Console(highlight=False)
    with console.capture() as capture:
        for index, part in enumerate(parts):
            if index:
                console.print()
            console.print(part, soft_wrap=isinstance(part, Text))
    lines = capture.get().splitlines()
    click.echo("\n".join(line.rstrip() for line in lines))
