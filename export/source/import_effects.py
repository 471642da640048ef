"""Find what a Python file does when it is imported besides defining things; runs nothing."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["import_warning", "syntax_tree"]

_LARGEST = 1_000_000  # bytes of a file that is read

_TRAINING_METHODS = {"backward", "fit", "save"}
_TRAINING_FUNCTIONS = {"fit", "main", "save", "train"}

_NEW_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def syntax_tree(file: Path) -> ast.Module | None:
    """Return the syntax tree of a file; None where it is not a Python file of usual size."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def import_warning(file: Path) -> str:
    """Say where a file would train or save a model when it is imported; or nothing."""
    tree = syntax_tree(file)
    for call in _calls(tree.body if tree else ()):
        return (
            f"`{file.name}` would train or save a model when it is imported: line {call.lineno} "
            f'calls `{ast.unparse(call.func)}`. Put that under `if __name__ == "__main__":`, or '
            "end the script with `edgernn.export_model(model)`."
        )
    return ""


def _calls(statements: Iterable[ast.AST]) -> Iterator[ast.Call]:
    """Yield the calls that train or save, outside of functions and of `if __name__ == …`."""
    for node in statements:
        guarded = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if guarded or isinstance(node, _NEW_SCOPES):
            continue
        if isinstance(node, ast.Call) and _trains(node.func):
            yield node
        yield from _calls(ast.iter_child_nodes(node))


def _trains(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr in _TRAINING_METHODS
    return isinstance(function, ast.Name) and function.id in _TRAINING_FUNCTIONS
