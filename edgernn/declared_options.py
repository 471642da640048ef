"""Options that are declared once, as the fields of a dataclass.

    steps: Annotated[int | None, Option("Take N steps.", metavar="N")] = None

The type says which values are known, the default which one holds where none is given; `Option` says
the rest. The command line is made from these declarations, and values are checked against them.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from edgernn.errors import InputError
from edgernn.option_names import option

__all__ = ["Declaration", "Option", "accept_old_names", "check_options", "declarations"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Option:
    """What the declaration of an option says besides its name, type and default.

    Attributes:
        help: The line in `edgernn export --help`.
        flags: The flags on the command line; `--` and the name where empty.
        metavar: What the help calls the value.
        repeatable: Whether the flag is given once per value.
        hidden: Whether the option is in the Python API only.
        old_name: A former name, which still works and which no help shows.
        choices: The integers that are known, where not every integer is.
        expected: What messages say of a value that is neither a choice, a bool nor a number.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    repeatable: bool = False
    hidden: bool = False
    old_name: str = ""
    choices: tuple[int, ...] = ()
    expected: str = ""


@dataclass(frozen=True)
class Declaration:
    """One option with all that is declared of it.

    Attributes:
        name: The name in Python.
        type: The type of its values.
        option: What is declared besides.
        default: The value where none is given.
    """

    name: str
    type: Any
    option: Option
    default: Any

    @property
    def choices(self) -> tuple[str | int, ...]:
        """The values that are known, where they are enumerated."""
        return get_args(self.type) if get_origin(self.type) is Literal else self.option.choices

    @property
    def member_types(self) -> tuple[Any, ...]:
        """The types of which a value has one."""
        return get_args(self.type) if isinstance(self.type, UnionType) else (self.type,)

    def check(self, value: object) -> None:
        """Check a value against the type and the choices.

        Raises:
            InputError: It is none of them.
        """
        if _matches(value, self.type) and self._is_known(value):
            return
        text = repr(value)
        simple = isinstance(value, (str, int, float, type(None))) and len(text) <= 80
        subject = f"{option(self.name)} is {text if simple else f'of type {type(value).__name__}'}"
        if self.choices:
            raise InputError(f"{subject}; known are: {', '.join(map(str, self.choices))}.")
        raise InputError(f"{subject}; expected {self._expected()}.")

    def _is_known(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        if float in self.member_types and isinstance(value, (int, float)):
            return 0 < value < math.inf
        return not (int in self.member_types and isinstance(value, int)) or value >= 1

    def _expected(self) -> str:
        if self.type is bool:
            return "True or False"
        if int in self.member_types:
            return "an integer of at least 1"
        if float in self.member_types:
            return "a number above 0"
        return self.option.expected


def declarations(options: type[Any]) -> tuple[Declaration, ...]:
    """Return the options that a dataclass declares, in the order of its fields."""
    hints = get_type_hints(options, include_extras=True)
    found = []
    for field in fields(options):
        kind, option = get_args(hints[field.name])
        found.append(Declaration(field.name, kind, option, field.default))
    return tuple(found)


def check_options(options: Any) -> None:
    """Check the value of every option of a dataclass.

    Raises:
        InputError: A value is not what its option takes.
    """
    for declaration in declarations(type(options)):
        declaration.check(getattr(options, declaration.name))


def accept_old_names(
    options: type[Any],
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function whose keywords are options take them by their old names, with a warning."""
    names = {one.option.old_name: one.name for one in declarations(options) if one.option.old_name}

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def with_old_names(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for old, new in names.items():
                if old not in kwargs:
                    continue
                if new in kwargs:
                    raise InputError(f"`{old}` is the old name of `{new}`. Give `{new}` alone.")
                warnings.warn(f"`{old}` is now called `{new}`.", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return with_old_names

    return decorate


def _matches(value: Any, kind: Any) -> bool:
    """Say whether a value is of a declared type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if isinstance(kind, UnionType):
        return any(_matches(value, one) for one in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _matches(key, arguments[0]) and _matches(item, arguments[1])
            for key, item in value.items()
        )
    if origin is Sequence:
        return isinstance(value, Sequence) and all(_matches(one, arguments[0]) for one in value)
    if origin is Callable:
        return callable(value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
