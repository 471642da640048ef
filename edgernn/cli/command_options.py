"""Options that several commands take, and those made from declarations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin

import click
from click.shell_completion import CompletionItem

from edgernn.declared_options import Declaration, declarations

__all__ = [
    "PLOT_FORMATS",
    "NumberRange",
    "declared_options",
    "file_option",
    "flags_of",
    "json_option",
    "provider_option",
    "seconds_option",
]

PLOT_FORMATS = (".png", ".svg", ".pdf")

Command = TypeVar("Command", bound=Callable[..., None])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class NumberRange(click.FloatRange):
    """The numbers of a range; NaN is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def seconds_option(default: float) -> Callable[[Command], Command]:
    """Add --seconds, which ends a measurement, to a command."""
    return click.option(
        "--seconds",
        type=NumberRange(min=0, min_open=True),
        default=default,
        show_default=True,
        metavar="S",
        help="Start no further round of a measurement after S seconds.",
    )


def file_option(
    flag: str, help_: str, formats: tuple[str, ...] = (), streams: bool = False
) -> Callable[[Command], Command]:
    """Add a file to a command.

    Args:
        flag: The option.
        help_: Its help.
        formats: The suffixes of the formats that it may have; none for any.
        streams: Whether devices and pipes are taken too, with any suffix.
    """

    def check(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        if value is None or value.suffix in formats or (streams and _is_stream(value)):
            return value
        raise click.BadParameter(
            f"`{value}` does not end in a format that is known: {', '.join(formats)}."
        )

    return click.option(
        flag,
        type=click.Path(path_type=Path),
        callback=check if formats else None,
        metavar="FILE",
        help=help_,
    )


def _is_stream(path: Path) -> bool:
    from edgernn.cli.data_files.output_file import OutputFile

    return OutputFile(path).is_stream


def provider_option(**settings: Any) -> Callable[[Command], Command]:
    """Add --provider to a command."""
    return click.option("--provider", metavar="NAME", shell_complete=_providers, **settings)


def _providers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return what begins as what was typed: providers, or options after a colon."""
    from edgernn.runtime.provider_options import OPTIONS

    name, colon, written = incomplete.partition(":")
    if not colon:
        return [one for one in ("auto", *OPTIONS) if one.startswith(name)]
    before, comma, last = written.rpartition(",")
    start = f"{name}:{before}{comma}"
    return [f"{start}{one}=" for one in OPTIONS.get(name, {}) if one.startswith(last)]


def declared_options(options: type[Any]) -> Callable[[Command], Command]:
    """Add every option that a class declares to a command, which takes them under their names."""

    def decorate(command: Command) -> Command:
        for declaration in reversed(declarations(options)):
            for option in _click_options(declaration):
                command = option(command)
        return command

    return decorate


def flags_of(options: type[Any]) -> dict[str, str]:
    """Return name of a declared option → its long flag."""
    return {one.name: _flags(one)[-1] for one in declarations(options)}


def _flags(declaration: Declaration) -> tuple[str, ...]:
    return declaration.option.flags or (_flag(declaration.name),)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _click_options(declaration: Declaration) -> Iterator[Callable[[Command], Command]]:
    """Yield the decorators for one option: under its name and, hidden, under its old one."""
    option = declaration.option
    if option.hidden:
        return
    settings = _settings(declaration)
    yield click.option(*_flags(declaration), declaration.name, help=option.help, **settings)
    if option.old_name:
        yield click.option(_flag(option.old_name), declaration.name, hidden=True, **settings)


def _settings(declaration: Declaration) -> dict[str, Any]:
    """Return what click is told of the type and default of an option."""
    option, types = declaration.option, declaration.member_types
    if declaration.type is bool:
        return {"is_flag": True}
    if option.repeatable:
        callback = _list if any(get_origin(one) is Sequence for one in types) else _mapping
        return {"multiple": True, "metavar": option.metavar, "callback": callback}
    if get_origin(declaration.type) is Literal:
        kind: Any = click.Choice(declaration.choices)
    elif Path in types:
        kind = click.Path(path_type=Path)
    else:
        kind = next((one for one in (int, float) if one in types), str)
    shown = declaration.default is not None
    names_file = (option.metavar or "").startswith("FILE")
    return {
        "shell_complete": _files if names_file else None,
        "type": kind,
        "default": declaration.default,
        "show_default": shown,
        "metavar": option.metavar,
    }


def _files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let a shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def _list(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    return list(values) or None


def _mapping(
    ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, str | int] | None:
    """Split every IN=OUT; a number is a position in forward's return value."""
    mapping: dict[str, str | int] = {}
    for pair in pairs:
        name, equals, result = pair.partition("=")
        if not (name and equals and result):
            raise click.BadParameter(f"`{pair}` is not IN=OUT, such as hidden=1 or h=h_next.")
        mapping[name] = int(result) if result.isdecimal() else result
    return mapping or None
