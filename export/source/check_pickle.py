"""Checks of the pickles of a TorchScript archive, without making any object that they describe.

torch reads them in C++, where a tensor may lie outside of its storage and an object of a C++ class
unpickles itself. Here classes are only names, and each tensor is measured against its storage.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.storage import _dtype_to_storage_type_map

from edgernn.errors import EdgernnError
from edgernn.export.source.load_weights import MOST_REPEATED
from edgernn.export.source.refusals import damaged_file, quantized_weights, untrusted_file
from edgernn.untrusted_text import first_line

__all__ = ["check_pickle"]

# What torch's pickler writes; its unpickler takes little more.
_OPCODES = frozenset(
    str.split("""
    APPEND APPENDS BINFLOAT BINGET BININT BININT1 BININT2 BINPERSID BINPUT BINUNICODE BUILD DICT
    EMPTY_DICT EMPTY_LIST EMPTY_TUPLE GLOBAL LIST LONG1 LONG_BINGET LONG_BINPUT MARK NEWFALSE NEWOBJ
    NEWTRUE NONE PROTO REDUCE SETITEM SETITEMS STOP TUPLE TUPLE1 TUPLE2 TUPLE3
    """)
)

_DEEPEST = 100


@dataclass
class _Storage:
    """An entry of `numel` numbers."""

    numel: int


class _ScriptObject:
    """An instance of a class of the archive's own code."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def check_pickle(content: bytes, sizes: Callable[[str], int], file: str, subject: str) -> None:
    """Check that torch reads `content` as tensors, plain values and objects of the archive's code.

    `sizes` returns the bytes of a storage by its key, or raises LookupError where there is none.

    Raises:
        SourceError: It asks for anything else, or a tensor lies outside of its storage.
        UnsupportedModelError: A weight is quantized.
    """
    try:
        _check_opcodes(content)
        _check_depth(_Reader(content, sizes, file, subject).load(), 0, {})
    except EdgernnError:
        raise
    except Exception as error:  # a damaged pickle fails in any way
        reason = f"`{file}`: {first_line(error)}"
        raise damaged_file(subject, "TorchScript archive", reason) from error


class _Reader(pickle.Unpickler):
    """Reads classes as names, and measures each tensor against its storage."""

    def __init__(
        self, content: bytes, sizes: Callable[[str], int], file: str, subject: str
    ) -> None:
        super().__init__(io.BytesIO(content))
        self._sizes = sizes
        self._file = file
        self._subject = subject

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if name == "_rebuild_qtensor" or _QUANTIZED.match(path):
            raise quantized_weights(self._subject, f"`{name}` in `{self._file}`")
        if path.startswith("__torch__.") and not path.startswith("__torch__.torch.classes"):
            return _ScriptObject
        if (found := _REPLACEMENTS.get(path)) is not None:
            return found
        raise untrusted_file(
            f"{self._subject} is a TorchScript archive that makes a `{path}` in `{self._file}`, an "
            "object of code that is not in it",
            "Making it would run that code",
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, device, numel = pid
        if kind != "storage" or type(numel) is not int or type(device) is not str:
            raise ValueError("a storage is not one")
        needed = numel * dtype.itemsize
        if numel < 0 or (numel and needed > self._sizes(key)):
            raise ValueError(f"a storage of {needed} bytes is cut short")
        return _Storage(numel)


def _check_tensor(storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> None:
    if not isinstance(storage, _Storage) or len(sizes) != len(strides):
        raise ValueError("a tensor has no storage, size and stride")
    if any(type(n) is not int or n < 0 for n in (offset, *sizes, *strides)):
        raise ValueError("a tensor has a size that is not one")
    reach = sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
    if 0 not in sizes and offset + reach >= storage.numel:
        raise ValueError(f"a tensor of {list(sizes)} lies outside of its {storage.numel} numbers")
    if math.prod(sizes) > max(MOST_REPEATED, storage.numel):
        raise ValueError(f"a tensor of {list(sizes)} repeats its {storage.numel} numbers")


def _first(value: Any, *_: Any) -> Any:
    return value


_QUANTIZED = re.compile(r"__torch__\.torch\.classes\.(quantized|rnn)\.|torch\.Q\w*Storage$")

# Classes and functions by the names that a pickle has → what is called in their place. A storage
# class is only the dtype of its numbers.
_REPLACEMENTS: dict[str, Any] = {
    "builtins.complex": complex,
    "collections.OrderedDict": dict,
    "torch._utils._rebuild_tensor_v2": _check_tensor,
    "torch.device": str,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    **{f"torch.{name}": dtype for dtype, name in _dtype_to_storage_type_map().items()},
}


def _check_opcodes(content: bytes) -> None:
    count, end = 0, 0
    for opcode, argument, place in pickletools.genops(content):
        count, end = count + 1, place or 0
        if opcode.name not in _OPCODES:
            raise ValueError(f"it has the opcode {opcode.name}, which torch does not write")
        if "PUT" in opcode.name and argument is not None and argument > count:
            raise ValueError("its memo has places that nothing is in")
    if end != len(content) - 1:
        raise ValueError("it goes on after its end")


def _check_depth(value: Any, depth: int, seen: dict[int, int]) -> None:
    """Refuse values in values too deep for torch's own recursion, and values in themselves."""
    if depth > _DEEPEST:
        raise ValueError("its values are nested too deeply")
    if isinstance(value, _ScriptObject):
        children: Any = (value.state,)
    elif isinstance(value, dict):
        children = (*value, *value.values())
    elif isinstance(value, (list, tuple)):
        children = value
    else:
        return
    if seen.get(id(value), -1) >= depth:
        return
    seen[id(value)] = depth
    for child in children:
        _check_depth(child, depth + 1, seen)
