"""`python -m tests.fuzz [CASES] [--case N]`: damage files of every kind and read them.

Prints each case in which a reader does anything but succeed or raise an error of edgernn's own,
with its number, so that it can be run again: `python -m tests.fuzz --case N`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from tests.fuzz import corpus
from tests.fuzz.cases import described, finding, limited
from tests.fuzz.pool import findings


@click.command()
@click.argument("cases", type=click.IntRange(min=1), default=100_000)
@click.option("--first", type=click.IntRange(min=0), default=0, help="The number of the first.")
@click.option("--case", "only", type=click.IntRange(min=0), help="Run this case in this process.")
def main(cases: int, first: int, only: int | None) -> None:
    """Run CASES cases of the fuzz test and print what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        corpus.make(Path(folder))
        if only is not None:
            with tempfile.TemporaryDirectory() as scratch, limited():
                click.echo(finding(only, Path(folder), Path(scratch)) or f"{described(only)}: ok")
            return
        found = 0
        for line in findings(Path(folder), range(first, first + cases), os.cpu_count() or 1):
            click.echo(line)
            found += 1
    click.echo(f"{cases:,} cases, {found} findings")
    sys.exit(found > 0)


main()
