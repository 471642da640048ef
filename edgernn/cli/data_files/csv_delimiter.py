"""What separates the columns of a .csv file: a comma, a semicolon or a tab."""

from __future__ import annotations

import re

__all__ = ["DELIMITER_NAMES", "is_decimal_comma", "possible_delimiters"]

DELIMITER_NAMES = {",": "`,`", ";": "`;`", "\t": "tabs"}
"""Delimiter → its name in messages."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_LIKE_A_NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?")
_QUOTED = re.compile(r'"[^"]*"')


def is_decimal_comma(cell: str) -> bool:
    """Return whether a cell is a number with a comma as its decimal sign."""
    return _DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def possible_delimiters(row: str) -> list[str]:
    """Return the delimiters by which a row can be read; a comma where it is one cell.

    By such a delimiter, no cell holds another one. A comma between digits is not one, and what
    stands in double quotes separates nothing.
    """
    bare = _QUOTED.sub("", row).strip(" \r\n")
    present = [delimiter for delimiter in DELIMITER_NAMES if delimiter in bare]
    if not present:
        return [","]
    return [delimiter for delimiter in present if _separates(delimiter, bare, present)]


def _separates(delimiter: str, bare: str, present: list[str]) -> bool:
    others = [other for other in present if other != delimiter]
    return not others or all(
        _LIKE_A_NUMBER.fullmatch(cell.strip()) or not any(other in cell for other in others)
        for cell in bare.split(delimiter)
    )
