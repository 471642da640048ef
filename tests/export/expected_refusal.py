"""The message of a refusal, and how it names a line of code."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from edgernn.errors import EdgernnError


def refusal(kind: type[EdgernnError], function: Callable[[], object]) -> str:
    """Return the message that a call is refused with; the error is of exactly this type."""
    with pytest.raises(EdgernnError) as info:
        function()
    assert type(info.value) is kind
    return str(info.value)


def at(code: type | Callable[..., object], line: str) -> str:
    """Return how a message names the line of a class or function that begins with `line`."""
    file = inspect.getsourcefile(code)
    lines, first = inspect.getsourcelines(code)
    place = next(n for n, one in enumerate(lines) if one.strip().startswith(line.rstrip(" …")))
    return f" at {file}:{first + place} (`{line}`)"
