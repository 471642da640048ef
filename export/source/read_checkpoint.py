"""Read what torch.save and safetensors wrote: a state_dict, or a whole pickled module."""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import IO, Any

import torch
from torch import nn
from torch._weights_only_unpickler import _get_allowed_globals
from torch.serialization import SourceChangeWarning

from edgernn.errors import SourceError
from edgernn.export.source.find_code import ModelCode, code_of_pickle
from edgernn.export.source.load_weights import listed
from edgernn.export.source.module_factory import folders_on_path
from edgernn.export.source.refusals import damaged_file, quantized_weights, untrusted_file
from edgernn.option_names import repeat_with
from edgernn.untrusted_text import first_line

__all__ = ["StateDict", "read_pickle", "read_safetensors", "state_dict_in"]

StateDict = dict[str, torch.Tensor]

# Where training scripts put the weights, in the order of preference.
_WRAPPINGS = str.split(
    "state_dict model_state_dict model_state model_dict model net network module weights params "
    "checkpoint"
)
_DEEPEST = 5

_SAVED = "torch.save file"
_PICKLES = 5  # of a file of torch's old format: three heads, the content, the names of storages
_LONGEST_NAME = 10_000


def read_safetensors(path: Path) -> StateDict:
    """Return the tensors of the safetensors file `path`, in the order of their names.

    Raises:
        SourceError: The file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(sorted(load_file(path).items()))
    except (SafetensorError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise damaged_file(f"`{path}`", "safetensors file", _reason(error)) from error


def read_pickle(
    path: Path, trust: bool, code: ModuleType | None = None
) -> tuple[Any, tuple[str, ...]]:
    """Return what torch.save wrote to `path`, and notes.

    Nothing but tensors and plain containers is unpickled unless `trust` is set. Classes that the
    pickle has from `__main__` are looked up in `code`.

    Raises:
        SourceError: The file is damaged, wants code without trust, or wants code that is missing.
    """
    names = _requested_names(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _load(path, weights_only=True), ()
    except pickle.UnpicklingError as error:
        unknown = sorted(names - _get_allowed_globals().keys())
        wanted = [f"`{name}`" for name in sorted(unknown, key=_is_of_every_module)]
        if not wanted:
            raise damaged_file(f"`{path}`", _SAVED, _reason(error)) from error
        if not trust:
            raise untrusted_file(
                f"`{path}` is a pickle that asks for code: {listed(wanted)}",
                "Unpickling runs whatever the file says",
                "save model.state_dict() and export that",
                code_of_pickle(names, path) if code is None else None,
            ) from None
    except Exception as error:  # a damaged file fails in any way
        raise damaged_file(f"`{path}`", _SAVED, _reason(error)) from error
    return _unpickle(path, code, names)


def _is_of_every_module(name: str) -> bool:
    """Say whether a name tells nothing of a model, so that messages list it last."""
    return name.startswith("torch.nn.modules.") or name == "__builtin__.set"


def state_dict_in(value: Any, subject: str) -> StateDict | nn.Module:
    """Return the state_dict or module that `value` is or wraps.

    Raises:
        SourceError: There is none in it.
        UnsupportedModelError: Its weights are quantized.
    """
    if (found := _unwrap(value, 0)) is not None:
        return found
    for key in value if isinstance(value, Mapping) else ():
        if "_packed_params" in str(key):
            raise quantized_weights(subject, f"such as `{key}`")
    raise SourceError(
        f"{subject} holds no model: {_describe(value)}. Expected a whole module, a state_dict, "
        f"or one of them under {', '.join(f'`{name}`' for name in _WRAPPINGS[:-1])} or "
        f"`{_WRAPPINGS[-1]}`."
    )


def _unwrap(value: Any, depth: int) -> StateDict | nn.Module | None:
    if isinstance(value, nn.Module):
        return value
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return None
    named = bool(value) and all(isinstance(key, str) for key in value)
    if named and all(isinstance(entry, torch.Tensor) for entry in value.values()):
        return dict(value)
    inner = (_unwrap(value.get(name), depth + 1) for name in _WRAPPINGS)
    return next((found for found in inner if found is not None), None)


def _requested_names(path: Path) -> set[str]:
    """Return the classes and functions that the pickles of a file ask for, unpickling none.

    Raises:
        SourceError: A name or number is of endless length; torch searches its messages for it.
    """
    names: set[str] = set()
    try:
        for stream in _pickles_in(path):
            for _ in range(_PICKLES):
                names |= _names_in_next_pickle(stream)
    except Exception as error:  # where it is cut short, torch's own reader says what is wrong
        if len(reason := str(error)) > _LONGEST_NAME:
            start = f"a name starts with {reason[:40]}"
            raise damaged_file(f"`{path}`", _SAVED, start) from None
    return names


def _names_in_next_pickle(stream: IO[bytes]) -> set[str]:
    names: set[str] = set()
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST") and len(str(argument)) > _LONGEST_NAME:
            raise ValueError(str(argument))
        if opcode.name == "GLOBAL":
            names.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            names.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


def _pickles_in(path: Path) -> Iterator[IO[bytes]]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                yield io.BytesIO(archive.read(name))


def _load(path: Path, **options: Any) -> Any:
    # Given a path, torch.load goes by its name.
    with path.open("rb") as stream:
        return torch.load(stream, map_location="cpu", **options)


def _describe(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"it is of type `{type(value).__name__}`"
    if not value:
        return "it is an empty dict"
    if {"state", "param_groups"} <= set(value):
        return "it is an optimizer's state_dict (`state`, `param_groups`)"
    if not all(isinstance(key, str) for key in value):
        return "it is a dict with keys that are not text"
    described = [f"`{key}` ({type(entry).__name__})" for key, entry in value.items()]
    others = [text for text in described if "(Tensor)" not in text]
    return f"it is a dict with entries that are not tensors: {listed(others, 6)}"


def _reason(error: Exception) -> str:
    # torch puts its advice on weights_only before the reason.
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return first_line(ValueError(reason or type(error).__name__))


def _unpickle(
    path: Path, code: ModuleType | None, names: Collection[str]
) -> tuple[Any, tuple[str, ...]]:
    try:
        with folders_on_path(path.parent, Path.cwd()), warnings.catch_warnings(record=True) as log:
            warnings.simplefilter("always", SourceChangeWarning)
            loaded = _load(path, weights_only=False, pickle_module=_pickle_module(code))
    except (ModuleNotFoundError, AttributeError) as error:
        reason = str(error).partition(" on <module")[0]
        raise SourceError(
            f"`{path}` needs code that cannot be found: {reason}. {_code_remedy(names, path)}"
        ) from error
    except Exception as error:
        raise SourceError(
            f"`{path}` cannot be unpickled: {type(error).__name__}: {error}. Save "
            "model.state_dict() instead and export that."
        ) from error
    changed = any(issubclass(entry.category, SourceChangeWarning) for entry in log)
    note = "The code of a pickled class has changed since the model was saved."
    return loaded, (note,) if changed else ()


def _code_remedy(names: Collection[str], path: Path) -> str:
    """Say how to give the code of classes that a pickle asks for."""
    code = code_of_pickle(names, path)
    if code is not None and code.module is None:
        return f"Repeat it{code.where}."
    if code is None:
        code = ModelCode("FILE.py", ", where FILE.py defines its classes")
    remedy = repeat_with(module=code.module)
    return f"Give the code: {remedy}{code.where}. {code.warning}".rstrip()


def _pickle_module(code: ModuleType | None) -> Any:
    """Return what torch.load takes for `pickle`, looking up classes of `__main__` in `code`."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if code is not None and module in ("__main__", Path(str(code.__file__)).stem):
                if (found := getattr(code, name, None)) is None:
                    raise AttributeError(f"`{code.__file__}` defines no `{name}`")
                return found
            return super().find_class(module, name)

    return SimpleNamespace(Unpickler=Unpickler, load=pickle.load, __name__="pickle")
