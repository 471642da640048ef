"""`--module FILE.py:FACTORY`: the model's own code."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from edgernn.errors import SourceError

__all__ = ["call_factory", "import_code"]


def import_code(module: str) -> tuple[ModuleType, str | None]:
    """Import FILE.py of `FILE.py:FACTORY` or `FILE.py`, with its folder on sys.path.

    Returns:
        The module, under a private name, and FACTORY if there is one.

    Raises:
        SourceError: The file is missing or fails.
    """
    file_name, factory = module, None
    if not module.endswith(".py"):
        file_name, _, factory = module.rpartition(":")
    file = Path(file_name)
    if not file_name.endswith(".py"):
        raise SourceError(
            f"`{module}` is not of the form FILE.py:FACTORY, such as `net.py:Net`, where FACTORY "
            "is a class or function without required arguments."
        )
    if not os.path.isfile(file):
        raise SourceError(f"`{file}` does not exist. Give --module the file of the model's code.")
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"_edgernn_{file.stem}_{digest}", file.resolve())
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    sys.modules[spec.name] = code
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(code)
    except Exception as error:
        del sys.modules[spec.name]
        raise SourceError(
            f"`{file}` failed while it was imported: {type(error).__name__}: {error}. It must "
            "define the model when it is imported, without training it."
        ) from error
    finally:
        sys.path.remove(folder)
    return code, factory


def call_factory(code: ModuleType, factory: str | None) -> nn.Module:
    """Return the model that FACTORY makes.

    Raises:
        SourceError: It is missing, wants arguments, fails, or makes something else.
    """
    file = Path(str(code.__file__)).name
    defined = _candidates(code)
    known = f" `{file}` has {', '.join(f'`{name}`' for name in defined)}." if defined else ""
    if factory is None:
        raise SourceError(
            f"`{file}` is given without a factory. Give --module {file}:FACTORY.{known}"
        )
    subject = f"`{factory}` in `{file}`"
    made = getattr(code, factory, None)
    if made is None:
        raise SourceError(f"{subject} does not exist.{known}")
    if not isinstance(made, nn.Module):
        made = _called(made, subject)
    if not isinstance(made, nn.Module):
        raise SourceError(
            f"{subject} is or returns a `{type(made).__name__}`; expected a torch.nn.Module.{known}"
        )
    return made


def _candidates(code: ModuleType) -> list[str]:
    """Return the names that `code` itself defines and that could be factories."""
    return [
        name
        for name, value in vars(code).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == code.__name__)
    ]


def _called(factory: object, subject: str) -> object:
    if not callable(factory):
        return factory
    required = [
        f"`{parameter.name}`"
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise SourceError(
            f"{subject} needs {', '.join(required)}; a factory takes no required argument. Add a "
            "function to the file that calls it with them, and name that."
        )
    try:
        return factory()
    except Exception as error:
        raise SourceError(
            f"{subject} failed: {type(error).__name__}: {error}. It must return the model."
        ) from error
