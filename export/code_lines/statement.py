"""What a line of the model's code decides: read from its source."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from edgernn.export.code_lines.place import Place

__all__ = ["Span", "decision_at", "decision_over", "loops_in"]

_Decision = ast.If | ast.While | ast.IfExp | ast.Assert


@dataclass(frozen=True)
class Span:
    """A statement of several lines.

    Attributes:
        place: Its first line.
        end: The number of its last line.
    """

    place: Place
    end: int

    def holds(self, place: Place) -> bool:
        """Return whether a line is one of the statement's."""
        return place.file == self.place.file and self.place.line <= place.line <= self.end


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


def loops_in(file: str) -> list[Span]:
    """Return the loops of a file, those around others before them."""
    found = [node for node in _nodes(file) if isinstance(node, ast.For | ast.While)]
    spans = [Span(Place(file, node.lineno), node.end_lineno or node.lineno) for node in found]
    return sorted(spans, key=lambda span: span.place.line)


def _decisions(file: str) -> Iterator[_Decision]:
    return (node for node in _nodes(file) if isinstance(node, _Decision))


@cache
def _nodes(file: str) -> tuple[ast.AST, ...]:
    """Return what a file is made of; nothing where it cannot be read."""
    try:
        return tuple(ast.walk(ast.parse("".join(linecache.getlines(file)))))
    except (SyntaxError, ValueError, RecursionError):
        return ()
