"""The options of `edgernn bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgernn.cli.command_options import flags_of
from edgernn.export.options import ExportOptions, Precision, SourceOptions

__all__ = ["BenchOptions", "list_option", "precision_option"]

_MOST_DIGITS = 9


@dataclass(frozen=True)
class BenchOptions:
    """What the command line asks for; empty tuples and None where an option is not given.

    Attributes:
        batch: Numbers of sequences.
        chunk: Numbers of steps of one call.
        precision: Number formats of the weights.
        provider: Where to run.
        forms: Whether to run the forms of the artifact that are faster.
        threads: The number of threads of every runtime.
        rounds: The most rounds of a cell.
        seconds: The most seconds of a cell.
        against: The torch model to measure too.
        source: How to read that model: `SourceOptions` by name.
    """

    batch: tuple[int, ...]
    chunk: tuple[int, ...]
    precision: tuple[Precision, ...]
    provider: tuple[str, ...]
    forms: bool
    threads: int
    rounds: int
    seconds: float
    against: Path | None
    source: Mapping[str, Any]

    def check(self) -> None:
        """Check that the options go together.

        Raises:
            click.UsageError: They do not.
        """
        if self.against is None and any(self.source.values()):
            raise click.UsageError(f"{', '.join(flags_of(SourceOptions).values())} need --against.")


def list_option(flag: str, metavar: str, help_: str) -> Callable[..., Any]:
    """Return an option that takes integers separated by commas, each once."""
    return click.option(flag, metavar=metavar, callback=_integers, help=help_)


def precision_option(help_: str) -> Callable[..., Any]:
    """Return an option that takes precisions separated by commas, each once."""
    return click.option("--precision", metavar="LIST", callback=_precisions, help=help_)


def _integers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    words = _words(value)
    for word in words:
        if not word.isdecimal() or len(word) > _MOST_DIGITS or int(word) < 1:
            raise click.BadParameter(
                f"`{word}` is not an integer from 1 to 999,999,999, as in `1,8,64`."
            )
    return tuple(dict.fromkeys(map(int, words)))


def _precisions(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    known = _known_precisions()
    words = _words(value)
    for word in words:
        if word not in known:
            raise click.BadParameter(f"`{word}` is not a precision; known are: {', '.join(known)}.")
    return tuple(dict.fromkeys(words))


def _known_precisions() -> tuple[str, ...]:
    from edgernn.declared_options import declarations

    (found,) = (one for one in declarations(ExportOptions) if one.name == "precision")
    return tuple(map(str, found.choices))


def _words(value: str | None) -> list[str]:
    return [] if value is None else [word.strip() for word in value.split(",")]
