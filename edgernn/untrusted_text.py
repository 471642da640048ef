"""Text from files that others made: checked, and as a message or a terminal can show it."""

from __future__ import annotations

__all__ = ["escape_unprintable", "first_line", "is_utf8", "quote"]


def is_utf8(value: object) -> bool:
    """Say whether `value` is a string that can be encoded in UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def quote(text: str) -> str:
    """Return a text in backticks for a message: at most 60 characters, all printable."""
    return f"`{text}`" if text.isprintable() and len(text) <= 60 else f"`{text[:60]!a}`"


def escape_unprintable(text: str) -> str:
    """Return a text with each unprintable character escaped, except line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without its full stop, or the error's type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip().rstrip(".:")
