"""Options that are declared once, as the fields of a dataclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from edgernn.declared_options import (
    Declaration,
    Option,
    accept_old_names,
    check_options,
    declarations,
)
from edgernn.errors import InputError

MODE = Option("How.")
COUNT = Option("How many.", old_name="number")
NAMES = Option("Which.", expected="names or ids")


@dataclass(frozen=True)
class Options:
    mode: Annotated[Literal["fast", "slow"], MODE] = "fast"
    count: Annotated[int | None, COUNT] = None
    level: Annotated[int, Option("Which level.", choices=(1, 3))] = 1
    speed: Annotated[float | None, Option("How fast.")] = None
    quiet: Annotated[bool, Option("No output.")] = False
    names: Annotated[
        Sequence[str] | Mapping[str, str | int] | Callable[[], object] | None, NAMES
    ] = None


def test_declarations_are_the_fields() -> None:
    """Each field is an option with its name, type, default and what is declared besides."""
    found = declarations(Options)
    assert [one.name for one in found] == ["mode", "count", "level", "speed", "quiet", "names"]
    assert found[0] == Declaration("mode", Literal["fast", "slow"], MODE, "fast")
    assert (found[0].choices, found[2].choices) == (("fast", "slow"), (1, 3))
    assert found[1].member_types == (int, type(None))


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "slow", "count": 3, "level": 3, "quiet": True},
        {"count": None, "names": ["a", "b"]},
        {"names": {"a": "b", "c": 0}},
        {"names": dict},
        {"speed": 3},
        {"speed": 0.5},
    ],
)
def test_values_of_the_declared_types_pass(values: dict[str, Any]) -> None:
    """A value of any type in a union passes, also inside a sequence or mapping."""
    check_options(Options(**values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "medium"}, "`mode` is 'medium'; known are: fast, slow."),
        ({"mode": ["fast"]}, "`mode` is of type list; known are: fast, slow."),
        ({"count": 0}, "`count` is 0; expected an integer of at least 1."),
        ({"count": True}, "`count` is True; expected an integer of at least 1."),
        ({"level": 2}, "`level` is 2; known are: 1, 3."),
        ({"speed": 0}, "`speed` is 0; expected a number above 0."),
        ({"speed": float("inf")}, "`speed` is inf; expected a number above 0."),
        ({"speed": True}, "`speed` is True; expected a number above 0."),
        ({"speed": "3"}, "`speed` is '3'; expected a number above 0."),
        ({"quiet": 1}, "`quiet` is 1; expected True or False."),
        ({"names": [1]}, "`names` is of type list; expected names or ids."),
        ({"names": {1: "a"}}, "`names` is of type dict; expected names or ids."),
        ({"mode": "m" * 99}, "`mode` is of type str; known are: fast, slow."),
    ],
)
def test_other_values_are_refused(values: dict[str, Any], message: str) -> None:
    """The message names the option, its value or type, and what it takes."""
    with pytest.raises(InputError) as caught:
        check_options(Options(**values))
    assert str(caught.value) == message


def test_old_names_mean_the_new_ones() -> None:
    """A function takes a keyword by its old name with a warning, and never both."""

    @accept_old_names(Options)
    def count_of(*, count: int | None = None, quiet: bool = False) -> int | None:
        return count

    old: dict[str, Any] = {"number": 3}
    with pytest.warns(DeprecationWarning, match=r"^`number` is now called `count`\.$"):
        assert count_of(**old) == 3
    both = {**old, "count": 4}
    with pytest.raises(InputError) as caught:
        count_of(**both)
    assert str(caught.value) == "`number` is the old name of `count`. Give `count` alone."
    assert count_of(count=5) == 5
