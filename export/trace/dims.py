"""Sizes of axes that follow from dynamic ones, written in one way: `sequence//2 - 1`."""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Mapping

import onnx_ir as ir
import sympy
from sympy.printing.str import StrPrinter

__all__ = ["canonical", "rename_axes", "write_canonical"]

_Dim = int | ir.SymbolicDim

_CROPPED = re.compile(r"Min\((\d+), (\w+)\)")


def write_canonical(model: ir.Model) -> None:
    """Write the shape of every value of `model` canonically, in place."""
    _rewrite(model, _canonical_dim)


def rename_axes(model: ir.Model, names: Mapping[str, str]) -> None:
    """Give dynamic axes of `model` other names, also where they stand in a size; in place."""

    def renamed(dim: _Dim) -> _Dim:
        if isinstance(dim, int) or dim.value is None:
            return dim
        text = re.sub(r"[A-Za-z_]\w*", lambda name: names.get(name[0], name[0]), str(dim.value))
        return ir.SymbolicDim(text)

    _rewrite(model, renamed)


def _rewrite(model: ir.Model, change: Callable[[_Dim], _Dim]) -> None:
    for graph in model.graphs():
        for value in [*graph.inputs, *(out for node in graph for out in node.outputs)]:
            if value.shape is not None and not value.shape.is_static():
                value.shape = ir.Shape([change(dim) for dim in value.shape])


@functools.cache
def canonical(size: str) -> str:
    """Return a size in the shortest form, with `+ - * //` and parentheses.

    A name stays as it is, and so does a product of names, whose order says which one is the outer;
    so does what is not built of these operators.

    >>> canonical("((sequence//2)) - 1 + 2")
    'sequence//2 + 1'
    >>> canonical("((sequence - 1)//2 + 1)//3")
    '(sequence + 1)//6'
    >>> canonical("sequence*batch")
    'sequence*batch'
    """
    if all(part.strip().isidentifier() for part in size.split("*")):
        return size
    try:
        printed = _Printer().doprint(sympy.expand(_read(ast.parse(size, mode="eval").body)))
        text = ast.unparse(ast.parse(printed, mode="eval"))
    except (SyntaxError, KeyError):
        return size
    return text.replace(" // ", "//").replace(" * ", "*")


def _canonical_dim(dim: _Dim) -> _Dim:
    if isinstance(dim, int) or dim.value is None:
        return dim
    text = canonical(_CROPPED.sub(r"\2_most_\1", str(dim.value)))
    return int(text) if text.isdecimal() else ir.SymbolicDim(text)


def _read(node: ast.expr) -> sympy.Expr:
    match node:
        case ast.Constant(value=int(number)):
            return sympy.Integer(number)
        case ast.Name(id=name):
            return sympy.Symbol(name, integer=True, positive=True)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_read(operand)
        case ast.BinOp(left=left, op=sign, right=right):
            return _OPERATORS[type(sign)](_read(left), _read(right))
    raise KeyError(ast.unparse(node))


def _floored(number: sympy.Expr, divisor: sympy.Expr) -> sympy.Expr:
    """Return number//divisor, with one division for several: (a//m + k)//n = (a + k·m)//(m·n)."""
    number = sympy.expand(number)
    for term in number.atoms(sympy.floor):
        others = number - term
        inner, by = term.args[0].as_numer_denom()
        if not others.has(sympy.floor) and divisor.is_Integer and by.is_Integer:
            return _floored(inner + others * by, by * divisor)
    return sympy.floor(number / divisor)


_OPERATORS: dict[type[ast.operator], Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: _floored,
}


class _Printer(StrPrinter):  # type: ignore[misc]  # sympy has no types
    """Prints floors as Python's floor division."""

    def _print_floor(self, expr: sympy.floor) -> str:
        number, divisor = expr.args[0].as_numer_denom()
        return f"(({self._print(number)})//({self._print(divisor)}))"

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False) -> str:
        if not (expr.exp.is_Integer and expr.exp > 0):
            raise KeyError(str(expr))
        return "(" + "*".join([f"({self._print(expr.base)})"] * int(expr.exp)) + ")"
