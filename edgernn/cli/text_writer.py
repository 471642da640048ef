"""Text that a run writes, to standard output or a file."""

from __future__ import annotations

import time
from collections.abc import Iterable

import click

from edgernn.cli.data_files.output_file import OutputFile

__all__ = ["write_text"]


def write_text(pieces: Iterable[str], target: OutputFile | None) -> None:
    """Write text piece by piece, each at once, and end the line.

    Args:
        pieces: The text.
        target: The file; None for standard output.
    """
    if target is None:
        for piece in filter(None, pieces):
            click.echo(piece, nl=False)
        click.echo()
        return
    began, length = time.monotonic(), 0
    with target.open() as opened, opened.text() as stream:
        for piece in pieces:
            stream.write(piece)
            length += len(piece)
        stream.write("\n")
    size = f"{length:,} character{'s' * (length != 1)}"
    target.note("wrote", f"{size}, {time.monotonic() - began:.1f} s")
