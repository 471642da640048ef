"""Archives with entries changed, as their maker could."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["entries_of", "rewritten", "written"]


def entries_of(path: Path) -> dict[str, bytes]:
    """Return the entries of an archive by their names below its top folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def written(path: Path, entries: Mapping[str, bytes]) -> Path:
    """Write an archive of `entries` to `path`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"a/{name}", content)
    return path


def rewritten(path: Path, entry: str, old: bytes, new: bytes) -> Path:
    """Replace `old` in one entry of the archive `path` by `new`; it must be there."""
    entries = entries_of(path)
    assert old in entries[entry]
    entries[entry] = entries[entry].replace(old, new)
    return written(path, entries)
