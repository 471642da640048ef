"""Notes and bars on standard error, with `--quiet`, with `--verbose` and without a terminal."""

from __future__ import annotations

import io
import sys

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from edgernn.cli import terminal_notes
from edgernn.cli.terminal_notes import next_command, note, steps_bar, verbosity, verbosity_options


@click.command()
@verbosity_options
def work() -> None:
    """Say what a command of ours says."""
    click.echo("result")
    note(f"{verbosity()} \x1b[31mnote")
    next_command("edgernn run x.edgernn")
    with steps_bar(3, "steps") as advance:
        advance(3)


def run(*args: str) -> Result:
    return CliRunner().invoke(work, args)


def test_notes() -> None:
    """Notes go to standard error, without characters that a terminal would obey."""
    result = run()
    assert (result.stdout, result.stderr) == (
        "result\n",
        "normal \\x1b[31mnote\nnext    edgernn run x.edgernn\n",
    )


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet(flag: str) -> None:
    """With --quiet there are results only."""
    assert run(flag).output == "result\n"


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_verbose(flag: str) -> None:
    """With --verbose a command knows that more is wanted."""
    assert run(flag).stderr.startswith("verbose ")


def test_outside_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A note needs no command around it."""
    note("alone")
    assert capsys.readouterr().err == "alone\n"


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("total", "count"), [(5000, "4,000 of 5,000"), (None, "4,000")])
def test_bar(monkeypatch: pytest.MonkeyPatch, total: int | None, count: str) -> None:
    """A bar counts the steps on a terminal, and vanishes."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=40, _environ={})
    monkeypatch.setattr(terminal_notes, "terminal", lambda: console)
    with steps_bar(total, "steps") as advance:
        advance(1000)
        advance(3000)
    assert f"{count} steps" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[1A\x1b[2K")


def test_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn where standard error is closed, a file, or a terminal that cannot draw."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert terminal_notes.terminal() is not None
    monkeypatch.setenv("TERM", "dumb")
    assert terminal_notes.terminal() is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert terminal_notes.terminal() is None
    monkeypatch.setattr(sys, "stderr", None)
    assert terminal_notes.terminal() is None
