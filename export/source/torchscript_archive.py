"""What of a TorchScript archive torch is handed: code, weights and constants that were checked."""

from __future__ import annotations

import io
import re

from edgernn.errors import SourceError
from edgernn.export.source.archive import Archive, clean_archive
from edgernn.export.source.inert import check_pickle
from edgernn.export.source.torchscript_code import check_code

__all__ = ["checked_archive"]

_CODE = re.compile(r"code/[\w/]+\.py", re.ASCII)
_DEBUG = re.compile(r"code/[\w/]+\.py\.debug_pkl", re.ASCII)
_STORAGE = re.compile(r"(data|constants)/\w+", re.ASCII)
_NUMBER = re.compile(rb"\d{1,4}\s*")


def checked_archive(archive: Archive, subject: str) -> io.BytesIO:
    """Return an archive of the module in `archive`, for torch.jit.load.

    Raises:
        SourceError: Loading or running it would do more than compute; or it is damaged.
        UnsupportedModelError: It has quantized layers.
    """
    entries: dict[str, bytes] = {}
    for name in archive.names:
        if _CODE.fullmatch(name):
            entries[name] = archive.read(name)
            check_code(entries[name], name, subject)
    for name in archive.names:
        if _STORAGE.fullmatch(name):
            entries[name] = archive.read(name)
        elif _DEBUG.fullmatch(name) or name in ("data.pkl", "constants.pkl"):
            entries[name] = _pickle(archive, name, subject)
        elif name in ("version", ".data/version"):
            entries[name] = archive.read(name)
            if not _NUMBER.fullmatch(entries[name]):
                raise _damaged(subject, f"its version is `{entries[name][:20]!r}`")
        elif name == "byteorder" and archive.read(name) != b"little":
            raise _damaged(subject, "its numbers are not little-endian")
    if "data.pkl" not in entries or not {"version", ".data/version"} & set(entries):
        raise _damaged(subject, "it has no `data.pkl` or no `version`")
    return clean_archive(entries)


def _pickle(archive: Archive, name: str, subject: str) -> bytes:
    content = archive.read(name)
    folder = name.removesuffix(".pkl")
    check_pickle(content, lambda key: _size(archive, f"{folder}/{key}"), name, subject)
    return content


def _size(archive: Archive, name: str) -> int:
    if name not in archive or not _STORAGE.fullmatch(name):
        raise LookupError(f"there is no `{name}`")
    return archive.size(name)


def _damaged(subject: str, reason: str) -> SourceError:
    return SourceError(
        f"{subject} is a TorchScript archive that cannot be read: {reason}. Save or download it "
        "again."
    )
