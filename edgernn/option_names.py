"""Name options in messages: as arguments in Python, as flags on the command line.

option("inputs", ["x:float32[batch,40]"])
→ inputs=["x:float32[batch,40]"]            in Python
→ --input "x:float32[batch,40]"             on the command line
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar

__all__ = ["flags_in_messages", "option", "repeat_with"]

_FLAGS: ContextVar[Mapping[str, str] | None] = ContextVar("_FLAGS", default=None)
"""Name of an option → its flag, while a command runs; None in Python."""

_COMMAND: ContextVar[Sequence[str]] = ContextVar("_COMMAND", default=())
"""The words of the command that runs; none in Python."""

_ACTIVE_IN_DOUBLE_QUOTES = re.compile(r'["$`\\!]')


@contextlib.contextmanager
def flags_in_messages(flags: Mapping[str, str], command: Sequence[str] = ()) -> Iterator[None]:
    """Let messages name options by these flags, as long as the context lasts.

    Args:
        flags: Name of an option → its flag.
        command: The words of the command that runs, for messages that say how to repeat it.
    """
    before = _FLAGS.set(flags), _COMMAND.set(command)
    try:
        yield
    finally:
        _FLAGS.reset(before[0])
        _COMMAND.reset(before[1])


def option(name: str, value: object = None) -> str:
    """Return an option as one would write it here, or in backticks how it is called.

    Args:
        name: The name in Python, such as `inputs`.
        value: What to give it: True, a number, a text, a list of texts or, for `states`, a mapping
            from arguments to results. None for the name alone.
    """
    flags = _FLAGS.get()
    if value is None:
        return f"`{name if flags is None else flags[name]}`"
    if flags is None:
        return f"{name}={_literal(value)}"
    if value is True:
        return flags[name]
    return " ".join(f"{flags[name]} {_shell_word(one)}" for one in _words(value))


def repeat_with(**options: object) -> str:
    """Return the advice to repeat the call with more options: on the command line all of it.

    repeat_with(trust=True, module="net.py")
    → repeat with trust=True, module="net.py"
    → repeat it as `edgernn export model.pt --trust --module net.py`
    """
    added = [option(name, value) for name, value in options.items()]
    if command := _COMMAND.get():
        return f"repeat it as `{' '.join([*map(_shell_word, command), *added])}`"
    return f"repeat with {(', ' if _FLAGS.get() is None else ' ').join(added)}"


def _words(value: object) -> Iterator[str]:
    """Yield the words that a flag is given with, once each."""
    if isinstance(value, Mapping):
        yield from (f"{key}={one}" for key, one in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from map(str, value)
    else:
        yield str(value)


def _shell_word(text: str) -> str:
    """Quote a word for a shell, with double quotes where these are enough."""
    quoted = shlex.quote(text)
    if quoted == text or _ACTIVE_IN_DOUBLE_QUOTES.search(text):
        return quoted
    return f'"{text}"'


def _literal(value: object) -> str:
    """Write a value in Python, with double quotes; a mapping has numbers for positions."""
    if isinstance(value, Mapping):
        pairs = (f"{_literal(key)}: {_place(one)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def _place(result: object) -> str:
    text = str(result)
    return text if text.isdecimal() else _literal(text)
