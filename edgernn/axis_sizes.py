"""Sizes of axes, evaluated from expressions of dynamic axes such as `2*sequence`."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

__all__ = ["evaluate_shape", "evaluate_size", "is_size_expression"]

_MAX_TEXT = 200
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def evaluate_size(size: int | str, symbols: Mapping[str, int]) -> int | None:
    """Return the size of one axis, or None where `symbols` does not determine it.

    Args:
        size: A number, the name of a dynamic axis, or an expression of such names with
            `+ - * //` and parentheses.
        symbols: Name of a dynamic axis → its size.
    """
    if isinstance(size, int):
        return size
    if size in symbols:
        return symbols[size]
    if size.isidentifier():
        return None
    expression = _parse(size)
    try:
        return None if expression is None else _evaluate(expression, symbols)
    except (KeyError, ZeroDivisionError):
        return None


def is_size_expression(text: str) -> bool:
    """Say whether `evaluate_size` can read a text."""
    expression = _parse(text)
    if expression is None:
        return False
    for node in ast.walk(expression):
        match node:
            case ast.BinOp(op=sign) if type(sign) in _OPERATORS:
                pass
            case ast.Constant(value=number) if type(number) is int:
                pass
            case ast.Name(id=name) if _NAME.fullmatch(name):
                pass
            case ast.UnaryOp(op=ast.USub()) | ast.USub() | ast.operator() | ast.expr_context():
                pass
            case _:
                return False
    return True


@lru_cache
def _parse(text: str) -> ast.expr | None:
    """Return the parsed expression, or None where the text is not one or is too long."""
    if len(text) > _MAX_TEXT:
        return None
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def evaluate_shape(
    shape: Iterable[int | str], symbols: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Return the shape in numbers, or None where `symbols` does not determine an axis."""
    sizes = tuple(evaluate_size(size, symbols) for size in shape)
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def _evaluate(node: ast.expr, symbols: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return symbols[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, symbols)
        case ast.BinOp(left=left, op=sign, right=right):
            return _OPERATORS[type(sign)](_evaluate(left, symbols), _evaluate(right, symbols))
    raise KeyError(ast.unparse(node))
