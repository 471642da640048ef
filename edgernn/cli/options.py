"""The options that say how to read a model, for every command that takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

__all__ = ["model_options"]

Command = TypeVar("Command", bound=Callable[..., None])


def model_options(command: Command) -> Command:
    """Add --input, --state, --module, --assume-plain and --trust to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _states(
    ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, str | int]:
    """Split every IN=OUT; a number is a place in forward's return value."""
    states: dict[str, str | int] = {}
    for pair in pairs:
        before, equals, after = pair.partition("=")
        if not (before and equals and after):
            raise click.BadParameter(f"`{pair}` is not IN=OUT, such as hidden=1 or h=h_next.")
        states[before] = int(after) if after.isdecimal() else after
    return states


_OPTIONS = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="SPEC",
        help='An example input, as "tokens:int64[batch,sequence]" or, with ids below 11, '
        '"tokens:int64[batch,sequence]<11"; or one that is always the same, as '
        '"rate:int64[]=16000"; or a file, as "tokens=tokens.npy"; once per argument.',
    ),
    click.option(
        "--state",
        "states",
        multiple=True,
        metavar="IN=OUT",
        callback=_states,
        help="A state: forward's argument, and its next value by name or place.",
    ),
    click.option(
        "--module",
        metavar="FILE.py:FACTORY",
        help="What builds the module that a state_dict belongs to.",
    ),
    click.option(
        "--assume-plain",
        is_flag=True,
        help="Take the layers of a bare state_dict to follow each other with nothing between.",
    ),
    click.option(
        "--trust",
        is_flag=True,
        help="Let the file run code while it is opened: a pickled module, or an archive that does "
        "more than compute.",
    ),
    click.option(
        "--trust-pickle", "trust", is_flag=True, hidden=True, help="--trust by its old name."
    ),
)
