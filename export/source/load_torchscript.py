"""Load a TorchScript archive: torch is handed code, weights and constants that were checked."""

from __future__ import annotations

import contextlib
import re
import warnings
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import torch

from edgernn.errors import SourceError
from edgernn.export.source.check_pickle import check_pickle
from edgernn.export.source.check_torchscript import check_code
from edgernn.export.source.refusals import damaged_file
from edgernn.export.source.zip_archive import ZipArchive, write_archive
from edgernn.untrusted_text import first_line

__all__ = ["load_archive"]

_CODE = re.compile(r"code/[\w/]+\.py", re.ASCII)
_DEBUG = re.compile(r"code/[\w/]+\.py\.debug_pkl", re.ASCII)
_STORAGE = re.compile(r"(data|constants)/\w+", re.ASCII)
_NUMBER = re.compile(rb"\d{1,4}\s*")


def load_archive(
    archive: Path | torch.jit.ScriptModule, trust: bool, subject: str
) -> tuple[Any, dict[str, Callable[..., Any]]]:
    """Return the ScriptModule in `archive`, and the named tuples of its code by qualified names.

    A file is checked first, unless `trust` is set.

    Raises:
        SourceError: Loading or running it would do more than compute; or it is damaged.
        UnsupportedModelError: It has quantized layers.
    """
    with _open_archive(archive, trust, subject) as stored:
        return _load(stored, subject), _record_types(stored)


def _open_archive(
    archive: Path | torch.jit.ScriptModule, trust: bool, subject: str
) -> BytesIO | BufferedReader:
    if not isinstance(archive, Path):
        return _save(archive)
    if trust:
        return archive.open("rb")
    with ZipArchive(archive, subject) as entries:
        return _check_archive(entries, subject)


def _check_archive(archive: ZipArchive, subject: str) -> BytesIO:
    """Return an archive of the module in `archive`, for torch.jit.load."""
    entries: dict[str, bytes] = {}
    for name in archive.names:
        if _CODE.fullmatch(name):
            entries[name] = archive.read(name)
            check_code(entries[name], name, subject)
    for name in archive.names:
        if _STORAGE.fullmatch(name):
            entries[name] = archive.read(name)
        elif _DEBUG.fullmatch(name) or name in ("data.pkl", "constants.pkl"):
            entries[name] = _check_entry(archive, name, subject)
        elif name in ("version", ".data/version"):
            entries[name] = archive.read(name)
            if not _NUMBER.fullmatch(entries[name]):
                raise _damaged(subject, f"its version is `{entries[name][:20]!r}`")
        elif name == "byteorder" and archive.read(name) != b"little":
            raise _damaged(subject, "its numbers are not little-endian")
    if "data.pkl" not in entries or not {"version", ".data/version"} & set(entries):
        raise _damaged(subject, "it has no `data.pkl` or no `version`")
    return write_archive(entries)


def _check_entry(archive: ZipArchive, name: str, subject: str) -> bytes:
    def size(key: str) -> int:
        entry = f"{name.removesuffix('.pkl')}/{key}"
        if entry not in archive or not _STORAGE.fullmatch(entry):
            raise LookupError(f"there is no `{entry}`")
        return archive.size(entry)

    content = archive.read(name)
    check_pickle(content, size, name, subject)
    return content


def _damaged(subject: str, reason: str) -> SourceError:
    return damaged_file(subject, "TorchScript archive", reason)


def _save(module: torch.jit.ScriptModule) -> BytesIO:
    buffer = BytesIO()
    with _without_deprecations():
        torch.jit.save(module, buffer)
    buffer.seek(0)
    return buffer


def _load(stored: Any, subject: str) -> Any:
    load: Callable[..., Any] = torch.jit.load
    try:
        with _without_deprecations():
            return load(stored, map_location="cpu")
    except Exception as error:
        raise SourceError(
            f"{subject} is a TorchScript archive that torch {torch.__version__} cannot read: "
            f"{first_line(error)}. Save it again with this version of torch."
        ) from error


@contextlib.contextmanager
def _without_deprecations() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield


_RECORD = re.compile(r"^class (\w+)\(NamedTuple\):\n((?:  \w+ : .*\n)+)", re.MULTILINE)


def _record_types(stored: Any) -> dict[str, Callable[..., Any]]:
    """Return the named tuples of the archive's code, by their qualified names."""
    stored.seek(0)
    records: dict[str, Callable[..., Any]] = {}
    with zipfile.ZipFile(stored) as archive:
        for file in archive.namelist():
            _, _, path = file.partition("/code/")
            if not path.endswith(".py"):
                continue
            scope = path.removesuffix(".py").replace("/", ".")
            for name, fields in _RECORD.findall(archive.read(file).decode("utf-8")):
                names = [line.split(":")[0].strip() for line in fields.splitlines()]
                records[f"{scope}.{name}"] = namedtuple(name, names)
    return records
