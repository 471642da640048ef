"""Expressions of sizes, as torch.export archives have them: names, numbers and operators alone.

sympy evaluates an expression as Python code, so it is given only what this reads as one.
"""

from __future__ import annotations

import ast
import re

__all__ = ["check_expression"]

_MOST = 2000
_MOST_NODES = 300
_DIGITS = 20
_MOST_POWER = 64

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)

_OPERATORS = frozenset(
    str.split("Add Sub Mult Div FloorDiv Mod UAdd USub Eq NotEq Lt LtE Gt GtE Load")
)

_FUNCTIONS = frozenset(
    str.split("""
    Abs Add And CeilDiv CeilToInt CleanDiv Equality Eq FloatTrueDiv Float FloorDiv FloorToInt Ge
    GreaterThan Gt Identity IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not
    Or PythonMod Rational RoundToInt StrictGreaterThan StrictLessThan ToFloat TruncToFloat
    TruncToInt Unequality Where ceiling floor IsNonOverlappingAndDenseIndicator
    """)
)

# Powers and shifts, whose second argument is a small number.
_POWERS = frozenset(["FloatPow", "LShift", "Pow", "PowByNatural", "RShift"])


def check_expression(text: str) -> str:
    """Return `text` as it was read: names, numbers, operators, functions of sizes.

    Raises:
        ValueError: It is something else; the message says what.
    """
    if len(text) > _MOST:
        raise ValueError(f"it has {len(text)} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("it cannot be read") from None
    if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
        raise ValueError("it is too long")
    _check(tree.body)
    return ast.unparse(tree)


def _check(node: ast.AST) -> None:
    match node:
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int() | float() as number):
            if len(str(number)) > _DIGITS:
                raise ValueError("it has a number that is too long")
        case ast.Name(id=name):
            if not _NAME.fullmatch(name):
                raise ValueError(f"`{name}` is not a size")
        case ast.Call(
            func=ast.Name(id="Symbol" | "Float" as kind), args=[ast.Constant(value=str())]
        ):
            _check_literal(kind, node)
        case ast.Call(func=ast.Name(id=name), args=[base, exponent], keywords=[]) if (
            name in _POWERS
        ):
            _check_power(base, exponent)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            if name not in _FUNCTIONS or keywords:
                raise ValueError(f"`{name}` is not a function of sizes")
            for argument in arguments:
                _check(argument)
        case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
            _check_power(base, exponent)
        case ast.BinOp() | ast.UnaryOp() | ast.Compare():
            for child in ast.iter_child_nodes(node):
                _check(child)
        case _ if type(node).__name__ not in _OPERATORS:
            raise ValueError(f"it has a {type(node).__name__} in it")


def _check_literal(kind: str, node: ast.Call) -> None:
    """Check `Symbol('s0', integer=True)` or `Float('0.5', precision=53)`."""
    text = ast.literal_eval(node.args[0])
    flags = [item.value for item in node.keywords if item.arg is not None]
    if len(flags) != len(node.keywords) or not all(isinstance(f, ast.Constant) for f in flags):
        raise ValueError(f"`{kind}` has something that is not a constant")
    if kind == "Float":
        float(text)
    elif not _NAME.fullmatch(text):
        raise ValueError("a symbol has no plain name")


def _check_power(base: ast.expr, exponent: ast.expr) -> None:
    """Check that a power is of small constants: `2`, `-2`, `Integer(2)`, `Rational(1, 2)`."""
    _check(base)
    _check(exponent)
    match exponent := _without_sign(exponent):
        case ast.Call(func=ast.Name(id="Integer" | "Rational"), args=arguments):
            parts = [_without_sign(part) for part in arguments]
        case _:
            parts = [exponent]
    small = all(
        isinstance(part, ast.Constant) and isinstance(part.value, int) and part.value <= _MOST_POWER
        for part in parts
    )
    nested = any(
        isinstance(part, ast.Pow) or (isinstance(part, ast.Name) and part.id in _POWERS)
        for part in ast.walk(base)
    )
    if nested or not small:
        raise ValueError("it has a power that is too large")


def _without_sign(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.UnaryOp):
        node = node.operand
    return node
