"""The command line: one file per command, imported when the command is used."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from edgernn import __version__
from edgernn.cli.command_options import flags_of
from edgernn.errors import EdgernnError
from edgernn.export.options import ExportOptions
from edgernn.extras import EXTRAS, install_command
from edgernn.option_names import flags_in_messages
from edgernn.untrusted_text import escape_unprintable

__all__ = ["main"]

_COMMANDS = {
    "export": "Write a trained model as a proven, stateful artifact.",
    "run": "Run an artifact on arrays, numbers or text.",
    "inspect": "Show the contract and cost of an artifact or ONNX file.",
    "verify": "Prove an artifact again.",
    "bench": "Measure how fast an artifact runs here.",
    "tune": "Choose the fastest forms of an artifact on this machine.",
    "embed": "Write a project that runs an artifact in another language.",
    "doctor": "Show which providers really work here.",
}

_WORDS = "edgernn.words"
"""Where a context has the words of the command line."""


class _Commands(click.Group):
    """The group of commands: each a module of this package, imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of `--help`."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"edgernn.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line per command without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name; for an unknown name, say what was meant."""
        name = args[0]
        if name in _COMMANDS or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        meant = _similar_command(name)
        question = f" Did you mean {meant!r}?" if meant else ""
        raise click.UsageError(f"No such command {name!r}.{question}", ctx)

    def make_context(
        self, info_name: str | None, args: list[str], *others: Any, **extra: Any
    ) -> click.Context:
        """Parse the arguments; what ends that becomes one line, as in `invoke`."""
        words = [*(info_name or "edgernn").split(), *args]
        with _one_line_errors():
            context = super().make_context(info_name, args, *others, **extra)
        context.meta[_WORDS] = words
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of edgernn becomes one line, `Error: …`, and exit code 1."""
        flags = flags_in_messages(flags_of(ExportOptions), ctx.meta[_WORDS])
        with _one_line_errors(), _exit_on_sigterm(), flags:
            return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="edgernn %(version)s")
def main() -> None:
    """From a trained PyTorch LSTM, GRU or RNN to a stateful model inside any app.

    Results go to standard output, notes and progress to standard error. The exit code is 1 for
    what edgernn refuses and 2 for a command line that it does not understand.
    """


def _similar_command(name: str) -> str | None:
    """Return the command most like `name`, or the one that takes it where it is a file."""
    if os.path.exists(name):
        return f"edgernn {'run' if os.path.isdir(name) else 'export'} {name}"
    return next(iter(get_close_matches(name, _COMMANDS)), None)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn what ends a command into one line: `Error: …` with exit code 1, or an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        after_echo = "\n" if sys.stderr is not None and sys.stderr.isatty() else ""  # of ^C
        click.echo(f"{after_echo}Interrupted.", err=True)
        raise SystemExit(128 + signal.SIGINT) from None
    except EdgernnError as error:
        raise click.ClickException(escape_unprintable(str(error))) from error
    except MemoryError as error:
        raise click.ClickException(
            "There is not enough memory for that. `edgernn run` takes a long input in parts with "
            "--chunk, and fewer sequences at a time."
        ) from error
    except ModuleNotFoundError as error:
        raise click.ClickException(_missing_package(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(_system_error(error)) from error


def _missing_package(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        raise error
    return (
        f"`{package}` is not installed, and this command needs it. "
        f"Install it with: {install_command(EXTRAS[package])}"
    )


def _system_error(error: OSError) -> str:
    if error.filename is None:
        return f"The operating system refused: {error.strerror or error}."
    return f"`{error.filename}`: {error.strerror or error}."


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that partial files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise_exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
