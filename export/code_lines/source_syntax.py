"""The loops and conditions in the source of the model's code."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass
from functools import cache

from edgernn.export.code_lines.source_line import SourceLine

__all__ = ["SourceLoop", "condition_kind", "enclosing_condition", "loops_in"]

_Condition = ast.If | ast.While | ast.IfExp | ast.Assert


@dataclass(frozen=True)
class SourceLoop:
    """A `for` or `while` statement: its first line and the number of its last one."""

    line: SourceLine
    end: int

    def contains(self, line: SourceLine) -> bool:
        """Return whether a line is one of the statement's."""
        return line.file == self.line.file and self.line.number <= line.number <= self.end


def condition_kind(line: SourceLine) -> str | None:
    """Return what the condition on a line decides, or None where the line has none.

    Returns:
        `check` where forward goes on or raises, `end` where a loop goes on or ends, `branch`
        where one or the other is computed.
    """
    found = [
        node
        for node in _conditions(line.file)
        if node.test.lineno <= line.number <= (node.test.end_lineno or 0)
    ]
    match max(found, key=lambda node: node.test.lineno, default=None):
        case None:
            return None
        case ast.Assert() | ast.If(body=[*_, ast.Raise()]):
            return "check"
        case ast.While() | ast.If(body=[*_, ast.Break()]):
            return "end"
    return "branch"


def enclosing_condition(line: SourceLine) -> SourceLine | None:
    """Return the innermost line with a condition that decides whether a line runs, or None."""
    found = [
        node.test.lineno
        for node in _conditions(line.file)
        if not isinstance(node, ast.Assert) and node.lineno <= line.number <= (node.end_lineno or 0)
    ]
    return SourceLine(line.file, max(found)) if found else None


def loops_in(file: str) -> list[SourceLoop]:
    """Return the loops of a file, outer ones before inner ones."""
    found = [node for node in _nodes(file) if isinstance(node, ast.For | ast.While)]
    return [
        SourceLoop(SourceLine(file, node.lineno), node.end_lineno or node.lineno)
        for node in sorted(found, key=lambda node: node.lineno)
    ]


def _conditions(file: str) -> list[_Condition]:
    return [node for node in _nodes(file) if isinstance(node, _Condition)]


@cache
def _nodes(file: str) -> tuple[ast.AST, ...]:
    """Return the nodes of a file's syntax tree; none where it cannot be read."""
    try:
        return tuple(ast.walk(ast.parse("".join(linecache.getlines(file)))))
    except (SyntaxError, ValueError, RecursionError):
        return ()
