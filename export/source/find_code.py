"""Find the code of a model that a file has no code of, to name it in messages; runs nothing."""

from __future__ import annotations

import ast
import importlib.util
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgernn.export.source.import_effects import import_warning, syntax_tree
from edgernn.export.source.module_factory import folders_on_path
from edgernn.untrusted_text import quote

__all__ = ["UNKNOWN_CODE", "ModelCode", "code_of_pickle", "code_of_weights"]

_MOST_FILES = 200


@dataclass(frozen=True)
class ModelCode:
    """What a message says of a model's code.

    Attributes:
        module: The value of the option `module`; None where the code is to be on the path.
        where: What goes after the option: where the file is, or what to add to it.
        warning: A sentence on what to change in the file, or nothing.
    """

    module: str | None
    where: str = ""
    warning: str = ""


UNKNOWN_CODE = ModelCode(
    "FILE.py:FACTORY",
    ", where FACTORY is a class or function in FILE.py without required arguments",
)
"""What a message says where the code of a state_dict is not found."""


def code_of_pickle(names: Collection[str], path: Path) -> ModelCode | None:
    """Return the code that a pickle needs and Python would not find, or None.

    Args:
        names: The classes and functions that it asks for, such as `__main__.Net`.
        path: The file of the pickle; code is found beside it and in the current folder.
    """
    own = vars(sys.modules["__main__"])
    asked = (name.split(".") for name in sorted(names))
    of_script = {one: None for module, one, *_ in asked if module == "__main__" and one not in own}
    if of_script:
        found = [
            file
            for file, tree in _python_files(path.parent)
            if of_script.keys() <= _definitions(tree)
        ]
        if len(found) == 1:
            return ModelCode(str(found[0]), "", import_warning(found[0]))
        defined = " and ".join(map(quote, of_script))
        return ModelCode("FILE.py", f", where FILE.py is the script that defines {defined}")
    for module in sorted({name.rpartition(".")[0] for name in names}):
        package, _, inner = module.partition(".")
        if not module.replace(".", "").isidentifier() or _is_found(package, path.parent):
            continue
        if inner:
            return ModelCode(None, f" in the folder that holds the package `{package}`")
        return ModelCode(f"PATH/{module}.py", f", where PATH is the folder of `{module}.py`")
    return None


def code_of_weights(keys: Collection[str], path: Path) -> ModelCode:
    """Return the class that a state_dict with these keys is of, where a single one has its parts.

    Of several, it is the one in a script that names the file.

    Args:
        keys: The keys of the state_dict.
        path: Its file; code is found beside it and in the current folder.
    """
    parts = {key.partition(".")[0] for key in keys}
    trees = list(_python_files(path.parent))
    writers = [file for file, tree in trees if _names_file(tree, path.name)]
    found = [
        (file, node)
        for file, tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef) and parts <= _attributes(node)
    ]
    if len(found) > 1:
        found = [(file, node) for file, node in found if file in writers]
    if len(found) != 1:
        return UNKNOWN_CODE
    file, node = found[0]
    warning = import_warning(file)
    if not (required := _required(node)):
        return ModelCode(f"{file}:{node.name}", "", warning)
    call = f"{node.name}({', '.join(f'{one}=…' for one in required)})"
    where = f", after you add a function to `{file}`: `def make(): return {call}`"
    return ModelCode(f"{file}:make", where, warning)


def _python_files(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the Python files of the current folder and of another one, as syntax trees."""
    folders = {one.resolve(): one for one in (folder, Path())}
    files = [file for one in folders.values() for file in sorted(one.glob("*.py"))]
    for file in files[:_MOST_FILES]:
        if (tree := syntax_tree(file)) is not None:
            yield file, tree


def _names_file(tree: ast.Module, name: str) -> bool:
    """Say whether a text in the code ends in the name of a file."""
    texts = (one.value for one in ast.walk(tree) if isinstance(one, ast.Constant))
    return any(isinstance(text, str) and Path(text).name == name for text in texts)


def _definitions(tree: ast.Module) -> set[str]:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _attributes(node: ast.ClassDef) -> set[str]:
    """Return the attributes that methods of a class set, by assignment or as a buffer."""
    names: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            names.add(one.attr)
        elif isinstance(one, ast.Call) and ast.unparse(one.func).startswith("self.register_"):
            names |= {str(arg.value) for arg in one.args[:1] if isinstance(arg, ast.Constant)}
    return names


def _required(node: ast.ClassDef) -> list[str]:
    """Return the arguments of a class's own `__init__` that have no default."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            given = one.args
            by_place = [*given.posonlyargs, *given.args]
            without = by_place[1 : len(by_place) - len(given.defaults)]
            pairs = zip(given.kwonlyargs, given.kw_defaults, strict=True)
            return [arg.arg for arg in (*without, *(a for a, value in pairs if value is None))]
    return []


def _is_found(package: str, folder: Path) -> bool:
    """Say whether Python would find a module or package, from the folders that are on its path."""
    package = IMPORT_MAPPING.get(package, package)  # what pickles call `builtins`, for example
    if package in sys.modules:
        return True
    with folders_on_path(folder, Path.cwd()):
        try:
            return importlib.util.find_spec(package) is not None
        except (ImportError, ValueError):
            return False
