"""What a line of the model's code decides: read from its source."""

from __future__ import annotations

import ast
import linecache
from functools import cache

from edgernn.export.trace.place import Place

__all__ = ["decision_at", "decision_over"]

_Decision = ast.If | ast.While | ast.IfExp | ast.Assert


def decision_at(place: Place) -> str | None:
    """Return what the condition on a line decides, or None where the line has none.

    Returns:
        `check` where forward goes on or raises, `end` where a loop goes on or ends, `branch`
        where one or the other is computed.
    """
    spans = [
        node
        for node in _decisions(place.file)
        if node.test.lineno <= place.line <= (node.test.end_lineno or 0)
    ]
    if not spans:
        return None
    node = max(spans, key=lambda one: one.test.lineno)
    if isinstance(node, ast.Assert):
        return "check"
    if isinstance(node, ast.While):
        return "end"
    last = node.body[-1] if isinstance(node.body, list) else None
    if isinstance(last, ast.Raise):
        return "check"
    return "end" if isinstance(last, ast.Break) else "branch"


def decision_over(place: Place) -> Place | None:
    """Return the line with the condition that a line is run by, or None where it has none."""
    spans = [
        node.test.lineno
        for node in _decisions(place.file)
        if not isinstance(node, ast.Assert) and node.lineno <= place.line <= (node.end_lineno or 0)
    ]
    return Place(place.file, max(spans)) if spans else None


@cache
def _decisions(file: str) -> tuple[_Decision, ...]:
    """Return what in a file has a condition; nothing where it cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, _Decision))
