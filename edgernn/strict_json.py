"""JSON that others wrote: read only where every parser reads the same."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "parse_json"]

MAX_DEPTH = 64
"""The largest depth of nested objects and arrays."""

# A string, closed or cut short, or a bracket.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}


def parse_json(text: str) -> Any:
    """Return the value of JSON text.

    Python's own parser also accepts NaN and infinities, duplicate keys and any depth; other parsers
    refuse these or read them differently.

    Raises:
        ValueError: The text is not JSON, or uses one of these; the message is a clause.
    """
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += _DEEPER.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON does not have")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"it has the key {json.dumps(name[:40])} twice")
        table[name] = value
    return table
