"""Options of commands that are made from declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner

from edgernn.cli.command_options import declared_options, flags_of
from edgernn.declared_options import Option


@dataclass(frozen=True)
class Options:
    inputs: Annotated[
        Sequence[str] | Mapping[str, str] | None,
        Option("An input.", flags=("--input",), metavar="SPEC", repeatable=True),
    ] = None
    states: Annotated[
        Mapping[str, str | int] | None,
        Option("A state.", flags=("--state",), metavar="IN=OUT", repeatable=True),
    ] = None
    path: Annotated[str | Path | None, Option("Where to.", flags=("-o", "--output"))] = None
    mode: Annotated[Literal["fast", "slow"], Option("How.")] = "fast"
    steps: Annotated[int | None, Option("How many.", metavar="N", old_name="number")] = None
    opset: Annotated[int, Option("Which.", metavar="N", choices=(1, 3))] = 1
    all_layers: Annotated[bool, Option("All of them.", old_name="all")] = False
    name: Annotated[str | None, Option("What it is called.", metavar="NAME")] = None
    verify: Annotated[bool, Option("In Python only.", hidden=True)] = True


DEFAULTS = {
    "inputs": None,
    "states": None,
    "path": None,
    "mode": "fast",
    "steps": None,
    "opset": 1,
    "all_layers": False,
    "name": None,
}

HELP = """\
Usage: command [OPTIONS]

Options:
  --input SPEC        An input.
  --state IN=OUT      A state.
  -o, --output PATH   Where to.
  --mode [fast|slow]  How.  [default: fast]
  --steps N           How many.
  --opset N           Which.  [default: 1]
  --all-layers        All of them.
  --name NAME         What it is called.
  --help              Show this message and exit.
"""


def run(*args: str) -> tuple[dict[str, Any], str]:
    """Run a command that has the options; return what it got and what was printed."""
    received: dict[str, Any] = {}

    @click.command()
    @declared_options(Options)
    def command(**options: Any) -> None:
        received.update(options)

    return received, CliRunner().invoke(command, args).output


def test_help_lists_what_is_declared() -> None:
    """The help shows what is declared, without old names and hidden options."""
    assert run("--help")[1] == HELP


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        ((), {}),
        (("--input", "x", "--input", "y"), {"inputs": ["x", "y"]}),
        (("--state", "h=1", "--state", "c=c_next"), {"states": {"h": 1, "c": "c_next"}}),
        (("-o", "a", "--mode", "slow"), {"path": Path("a"), "mode": "slow"}),
        (("--steps", "3", "--opset", "3"), {"steps": 3, "opset": 3}),
        (("--number", "3", "--all"), {"steps": 3, "all_layers": True}),
        (("--all-layers", "--name", "it"), {"all_layers": True, "name": "it"}),
    ],
)
def test_values_have_the_declared_types(args: tuple[str, ...], changed: dict[str, Any]) -> None:
    """A command takes every option under its name in Python, whichever flag was given."""
    assert run(*args) == ({**DEFAULTS, **changed}, "")


def test_long_flags_by_name() -> None:
    """Messages call an option by its long flag."""
    assert flags_of(Options)["path"] == "--output"
    assert flags_of(Options)["all_layers"] == "--all-layers"
