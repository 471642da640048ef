"""Tables as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edgernn.untrusted_text import escape_unprintable

__all__ = ["facts", "show", "table", "unbroken"]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table whose cells wrap, between words where the terminal has room for these."""
    cells = [[*map(escape_unprintable, row)] for row in rows]
    gap, widths = _layout([columns, *cells])
    made = Table(
        padding=(0, gap - 1, 0, 0),
        title=_text(title),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for column, width in zip(columns, widths, strict=True):
        made.add_column(column, overflow="fold", width=width)
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def _layout(rows: Sequence[Sequence[str]]) -> tuple[int, list[int]]:
    """Return the space between the columns of a table and their widths, as the terminal has room.

    The widest columns become narrower first, and none narrower than its longest word as long as
    another can.
    """
    columns = [*zip(*rows, strict=True)]
    words = [max(cell_len(word) for cell in one for word in [*cell.split(), ""]) for one in columns]
    widths = [max(map(cell_len, one)) for one in columns]
    room = Console().width
    gap = next((gap for gap in (3, 2) if sum(words) + gap * (len(words) - 1) <= room), 1)
    while sum(widths) + gap * (len(widths) - 1) > room:
        excess = [(width > word, width) for width, word in zip(widths, words, strict=True)]
        widths[excess.index(max(excess))] -= 1
    return gap, widths


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
