"""The stages that edgernn logs: a line that moves on a terminal, lines that stay with --verbose."""

from __future__ import annotations

import io
import logging
import re
import sys

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from edgernn.cli import stage_display
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import verbosity_options

LOG = logging.getLogger("edgernn.export")


@click.command()
@verbosity_options
def work() -> None:
    """Go through three stages."""
    with show_stages("loading") as elapsed:
        LOG.info("tracing \x1b[31m%s", "forward")
        LOG.debug("a detail of %d nodes", 3)
        for done in range(2):
            LOG.info("proving: %d of 2", done + 1)
        print("from the model")
    click.echo(f"done in {elapsed():.0f} s")
    LOG.info("not shown")


def run(*args: str) -> Result:
    result = CliRunner().invoke(work, args)
    assert result.stdout == "done in 0 s\n"
    assert (LOG.parent and LOG.parent.level, LOG.isEnabledFor(logging.INFO)) == (0, False)
    return result


@pytest.mark.parametrize("args", [[], ["-q"]])
def test_no_terminal(args: list[str]) -> None:
    """Where nothing can move, only what the model itself prints shows."""
    assert run(*args).stderr == "from the model\n"


def test_verbose() -> None:
    """With --verbose each stage is a line, followed by its details and its time."""
    assert re.sub(r"\d\.\d\d", "0.00", run("-v").stderr) == (
        "loading\n"
        "  took 0.00 s\n"
        "tracing \\x1b[31mforward\n"
        "  a detail of 3 nodes\n"
        "  took 0.00 s\n"
        "proving\n"
        "from the model\n"
        "  took 0.00 s\n"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), ValueError("x")])
def test_what_is_raised_passes(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a block, the line vanishes and nothing listens any more."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=40, _environ={})
    monkeypatch.setattr(stage_display, "terminal", lambda: console)
    handlers = [*logging.getLogger("edgernn").handlers]
    with pytest.raises(type(error)), show_stages("loading"):
        raise error
    assert stream.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
    assert logging.getLogger("edgernn").handlers == handlers


def test_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line says what is done, with a bar where a stage counts its parts.

    What others write goes above it.
    """
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=40, _environ={})
    monkeypatch.setattr(stage_display, "terminal", lambda: console)
    with show_stages("loading"):
        sys.stderr.write("a warning\n")
        LOG.info("proving [b]: %d of %d", 1, 2)
    assert "a warning\n" in stream.getvalue()
    plain = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert " loading 0:00:00  \r" in plain
    assert " proving [b]: 1 of 2 0:00:00 ━━━━" in plain
    assert plain.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
