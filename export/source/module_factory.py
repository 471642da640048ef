"""The model's own code: `FILE.py:FACTORY`, or a factory itself."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from edgernn.errors import InputError, SourceError
from edgernn.export.source.import_effects import import_warning, syntax_tree
from edgernn.option_names import option

__all__ = ["Factory", "call_factory", "folders_on_path", "import_code", "name_of"]

Factory = Callable[[], object]
"""What returns an `nn.Module`, or is one."""


def name_of(module: str | Factory) -> str:
    """Return what messages call the value of the option `module`."""
    if isinstance(module, str):
        return module
    return getattr(module, "__qualname__", type(module).__qualname__)


def import_code(module: str | Factory) -> tuple[ModuleType | None, str | Factory | None]:
    """Import FILE.py of `FILE.py:FACTORY` or `FILE.py`.

    Its folder and the current one are on sys.path meanwhile. A file with relative imports is
    imported as a part of its package.

    Returns:
        The Python module, under a private name, and FACTORY if there is one; of a factory itself
        the module that defines it, and the factory.

    Raises:
        InputError: `module` is not of that form.
        SourceError: The file is missing, fails, or would train again.
    """
    if not isinstance(module, str):
        return inspect.getmodule(module), module
    file_name, factory = module, None
    if not module.endswith(".py"):
        file_name, _, factory = module.rpartition(":")
    file = Path(file_name)
    if not file_name.endswith(".py"):
        raise InputError(
            f"`{module}` is not of the form FILE.py:FACTORY, such as `net.py:Net`, where FACTORY "
            "is a class or function without required arguments."
        )
    if not os.path.isfile(file):
        raise SourceError(
            f"`{file}` does not exist. Give {option('module')} the file of the model's code."
        )
    if warning := import_warning(file):
        raise SourceError(warning)
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    package = _package_of(file.resolve())
    root = file.resolve().parents[len(package)]
    name = ".".join([*package, f"_edgernn_{file.stem}_{digest}"])
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code
    try:
        with folders_on_path(file.parent, root, Path.cwd()):
            spec.loader.exec_module(code)
    except Exception as error:
        del sys.modules[spec.name]
        raise SourceError(
            f"`{file}` failed while it was imported: {type(error).__name__}: {error}. "
            f"{_import_remedy(error)}"
        ) from error
    return code, factory


def _package_of(file: Path) -> list[str]:
    """Return the names of the packages, the outermost first, that relative imports of a file need.

    They are the folders that the dots reach, and those above with an `__init__.py`.
    """
    tree = syntax_tree(file)
    nodes = ast.walk(tree) if tree else ()
    imports = (one for one in nodes if isinstance(one, ast.ImportFrom))
    dots = max((one.level for one in imports), default=0)
    names: list[str] = []
    for folder in file.parents if dots else ():
        if len(names) >= dots and not (folder / "__init__.py").is_file():
            break
        names.insert(0, folder.name)
    return names


def _import_remedy(error: Exception) -> str:
    """Return a sentence on what to do about an error of an import."""
    if isinstance(error, ImportError):
        return "Install what is missing, or repeat this in the folder in which the training ran."
    return "It must define the model when it is imported, without training it."


@contextmanager
def folders_on_path(*folders: Path) -> Iterator[None]:
    """Put `folders` first on sys.path while the context lasts."""
    added = [str(folder.resolve()) for folder in folders]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def call_factory(code: ModuleType | None, factory: str | Factory | None) -> nn.Module:
    """Return the model that `factory` makes, which is a name in `code` or the factory itself.

    Raises:
        SourceError: It is missing, needs arguments, fails, or makes something else.
    """
    if callable(factory):
        remedy = "Give a function that calls it with them."
        return _call(factory, f"`{name_of(factory)}`", "", remedy)
    assert code is not None
    file = Path(str(code.__file__)).name
    defined = [
        name
        for name, value in vars(code).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == code.__name__)
    ]
    known = f" `{file}` has {', '.join(f'`{name}`' for name in defined)}." if defined else ""
    if factory is None:
        models = [name for name in defined if _is_model(getattr(code, name))] or defined
        name, others = (models[0], "") if len(models) == 1 else ("FACTORY", known)
        whole = option("module", f"{_given_path(code)}:{name}")
        raise SourceError(f"`{file}` is given without a factory. Give {whole}.{others}")
    subject = f"`{factory}` in `{file}`"
    if (found := getattr(code, factory, None)) is None:
        raise SourceError(f"{subject} does not exist.{known}")
    arguments = _required_arguments(found) if callable(found) else []
    call = f"{factory}({', '.join(f'{name}=…' for name in arguments)})"
    remedy = (
        f"Add a function to the file, such as `def make(): return {call}`, and name that: "
        f"{option('module', f'{_given_path(code)}:make')}."
    )
    return _call(found, subject, known, remedy)


def _is_model(value: object) -> bool:
    """Say whether a value is a module, or a class of modules."""
    made = isinstance(value, nn.Module)
    return made or (isinstance(value, type) and issubclass(value, nn.Module))


def _given_path(code: ModuleType) -> Path:
    """Return the path of a file as one gives it: its name alone in the current folder."""
    path = Path(str(code.__file__))
    return Path(path.name) if path.parent == Path.cwd() else path


def _call(factory: object, subject: str, known: str, remedy: str) -> nn.Module:
    """Return what a factory makes, or the factory itself where it is a module already.

    `known` is a sentence on other factories, `remedy` one for a factory that needs arguments.
    """
    made = factory
    if callable(factory) and not isinstance(factory, nn.Module):
        if required := _required_arguments(factory):
            raise SourceError(
                f"{subject} needs {', '.join(f'`{name}`' for name in required)}; a factory takes "
                "no required argument. "
                f"{remedy}"
            )
        try:
            made = factory()
        except Exception as error:
            raise SourceError(
                f"{subject} failed: {type(error).__name__}: {error}. It must return the model."
            ) from error
    if not isinstance(made, nn.Module):
        raise SourceError(
            f"{subject} is or returns a `{type(made).__name__}`; expected a torch.nn.Module.{known}"
        )
    return made


def _required_arguments(factory: Callable[..., object]) -> list[str]:
    """Return the arguments without a default; none where a builtin has no signature."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return []
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
