"""Sizes that are expressions of dynamic axes, in one canonical form: `sequence//2 - 1`."""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence

import onnx_ir as ir
import sympy
from sympy.printing.str import StrPrinter

__all__ = [
    "canonical_size",
    "evaluate_axes",
    "name_sizes",
    "rename_axes",
    "write_canonical",
    "write_readable",
]

_Dim = int | ir.SymbolicDim

_NAME = re.compile(r"[A-Za-z_]\w*")
_CALLS = re.compile(r"([A-Za-z_]\w*)\s*\(")
_KNOWN_FUNCTIONS = {"Max", "Min", "Mod", "floor", "max", "min", "mod", "sqrt"}


def write_canonical(model: ir.Model) -> None:
    """Write the shape of every value of `model` canonically, in place."""
    _rewrite(model, _canonical_dim)


def write_readable(model: ir.Model) -> None:
    """Write the shapes of a graph of torch's exporter so that onnx-ir parses them, in place.

    A size with a function that onnx-ir does not know, such as `CeilToInt`, becomes unknown.
    """

    def readable(dim: _Dim) -> _Dim:
        dim = _canonical_dim(dim)
        called = set() if isinstance(dim, int) else set(_CALLS.findall(str(dim.value)))
        return ir.SymbolicDim(None) if called - _KNOWN_FUNCTIONS else dim

    _rewrite(model, readable)


def name_sizes(models: Sequence[ir.Model], axes: Collection[str]) -> list[str]:
    """Name output axes whose sizes are no expression of dynamic `axes`, in place; return notes.

    The graphs are of one model, their shapes canonical; equal sizes get one name.
    """
    given: dict[str, str] = {}
    notes: list[str] = []
    for value in (value for model in models for value in model.graph.outputs):
        dims = list(value.shape or ())
        for axis, dim in enumerate(dims):
            text = str(dim)
            if isinstance(dim, int) or _is_expression(text, axes):
                continue
            if dim.value is None or text not in given:
                given[text] = f"{value.name}_dim{axis}"
                notes.append(
                    f"Axis {axis} of `{value.name}` is `{given[text]}`: its size has no "
                    "expression in the contract."
                )
            dims[axis] = ir.SymbolicDim(given[text])
        if value.shape is not None:
            value.shape = ir.Shape(dims)
    return notes


def _is_expression(size: str, axes: Collection[str]) -> bool:
    try:
        _read(ast.parse(size, mode="eval").body)
    except (SyntaxError, KeyError):
        return False
    return set(_NAME.findall(size)) <= set(axes)


def rename_axes(model: ir.Model, names: Mapping[str, str]) -> None:
    """Rename dynamic axes of `model`, also in expressions, in place."""

    def renamed(dim: _Dim) -> _Dim:
        if isinstance(dim, int) or dim.value is None:
            return dim
        return ir.SymbolicDim(_NAME.sub(lambda name: names.get(name[0], name[0]), str(dim.value)))

    _rewrite(model, renamed)


def evaluate_axes(model: ir.Model, sizes: Mapping[str, int]) -> None:
    """Replace dynamic axes of `model` by their sizes, also in expressions, in place.

    What stays dynamic is written canonically: onnx-ir writes `floor(sequence/4)` itself.
    """

    def evaluated(dim: _Dim) -> _Dim:
        if isinstance(dim, int) or dim.value is None:
            return dim
        (value,) = ir.Shape([dim]).evaluate(sizes)
        if isinstance(value, int):
            return value
        text = _NAME.sub(lambda name: str(sizes.get(name[0], name[0])), str(dim.value))
        return _canonical_dim(ir.SymbolicDim(text))

    _rewrite(model, evaluated)


def _rewrite(model: ir.Model, change: Callable[[_Dim], _Dim]) -> None:
    for graph in model.graphs():
        for value in [*graph.inputs, *(out for node in graph for out in node.outputs)]:
            if value.shape is not None and not value.shape.is_static():
                value.shape = ir.Shape([change(dim) for dim in value.shape])


@functools.cache
def canonical_size(size: str) -> str:
    """Return a size in its shortest form, with `+ - * //` and parentheses.

    A name is kept as it is, and so is a product of names, whose order tells the outer axis, and
    what has other operators.

    >>> canonical_size("((sequence//2)) - 1 + 2")
    'sequence//2 + 1'
    >>> canonical_size("((sequence - 1)//2 + 1)//3")
    '(sequence + 1)//6'
    >>> canonical_size("sequence*batch")
    'sequence*batch'
    >>> canonical_size("sequence - Mod(sequence, 4)")
    '4*(sequence//4)'
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
    text = canonical_size(str(dim.value))
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
        case ast.Call(func=ast.Name(id=name), args=[number, divisor]):
            return _FUNCTIONS[name](_read(number), _read(divisor))
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

_FUNCTIONS: dict[str, Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    **dict.fromkeys(("Mod", "PythonMod"), lambda a, b: a - _floored(a, b) * b),
    **dict.fromkeys(("FloorDiv", "CleanDiv"), _floored),
    "CeilDiv": lambda a, b: -_floored(-a, b),
}
"""torch's functions of integers."""


class _Printer(StrPrinter):  # type: ignore[misc]  # sympy has no types
    """Prints floors as Python's floor division."""

    def _print_floor(self, expr: sympy.floor) -> str:
        number, divisor = expr.args[0].as_numer_denom()
        return f"(({self._print(number)})//({self._print(divisor)}))"

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False) -> str:
        if not (expr.exp.is_Integer and expr.exp > 0):
            raise KeyError(str(expr))
        return "(" + "*".join([f"({self._print(expr.base)})"] * int(expr.exp)) + ")"
