"""A zip archive that torch wrote, read within bounds, and written again from checked entries."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from edgernn.errors import SourceError
from edgernn.untrusted_text import first_line

__all__ = ["ZipArchive", "write_archive"]

# What an archive may hold: torch stores weights as they are and packs text, at 20 to 1 at most.
_MOST_ENTRIES = 100_000
_SLACK = 1 << 20
_MOST_PACKED = 100
_TOTAL_SLACK = 64 << 20
_MOST_TOTAL = 16

_ENCRYPTED = 0x1


class ZipArchive(AbstractContextManager["ZipArchive"]):
    """The entries of one archive, by their names below its top folder.

    Attributes:
        names: The entries in their order in the file.
    """

    def __init__(self, content: Path | bytes, subject: str) -> None:
        """Open a file or its bytes, called `subject` in messages, and check the table of contents.

        Raises:
            SourceError: It is damaged, or its table of contents is one that torch does not write.
        """
        self._subject = subject
        packed = len(content) if isinstance(content, bytes) else content.stat().st_size
        try:
            self._file = zipfile.ZipFile(
                io.BytesIO(content) if isinstance(content, bytes) else content
            )
        except zipfile.BadZipFile as error:
            raise SourceError(
                f"{subject} is a zip archive cut short: it has {packed} bytes and no table of "
                "contents at its end. Save or download it again."
            ) from error
        except Exception as error:  # zlib, struct, zipfile: damage shows in any of them
            raise self._damaged(error) from error
        entries = [one for one in self._file.infolist() if not one.filename.endswith("/")]
        self._check(entries, packed)
        root = _root_of(entries)
        self._entries = {entry.filename.removeprefix(root): entry for entry in entries}
        self.names = tuple(self._entries)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def size(self, name: str) -> int:
        """Return the number of bytes of the entry `name`, unpacked."""
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        """Return the bytes of the entry `name`.

        Raises:
            SourceError: There is no such entry, or it is damaged.
        """
        if name not in self._entries:
            raise SourceError(
                f"{self._subject} has no `{name}` in it, so it is cut short or was changed. Save "
                "or download it again."
            )
        try:
            return self._file.read(self._entries[name])
        except Exception as error:  # zlib, struct, zipfile: damage shows in any of them
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self._subject} is a damaged zip archive: {first_line(error)}. Save or download it "
            "again."
        )

    def _check(self, entries: list[zipfile.ZipInfo], packed: int) -> None:
        total = sum(entry.file_size for entry in entries)
        seen = Counter(entry.filename for entry in entries)
        faults = [
            f"entry `{entry.filename}` {fault}"
            for entry in entries
            if (fault := "is there twice" if seen[entry.filename] > 1 else _fault(entry))
        ]
        if len(entries) > _MOST_ENTRIES or total > _TOTAL_SLACK + _MOST_TOTAL * packed:
            faults.append(f"{len(entries)} entries unpack from {packed} to {total} bytes")
        if faults:
            raise SourceError(
                f"{self._subject} is a zip archive that torch did not write: its {faults[0]}. Save "
                "or download it again."
            )


def write_archive(entries: Mapping[str, bytes]) -> io.BytesIO:
    """Return an archive of `entries` alone, unpacked, with one table of contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    buffer.seek(0)
    return buffer


def _fault(entry: zipfile.ZipInfo) -> str:
    top, *below = entry.filename.split("/")
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if not top or ".." in (top, *below) or ":" in top or "\\" in entry.filename:
        return "points outside of the archive"
    most = _SLACK + _MOST_PACKED * entry.compress_size
    match entry.compress_type:
        case zipfile.ZIP_STORED if entry.file_size == entry.compress_size:
            return ""
        case zipfile.ZIP_DEFLATED if entry.file_size <= most:
            return ""
        case zipfile.ZIP_STORED | zipfile.ZIP_DEFLATED:
            return f"unpacks from {entry.compress_size} to {entry.file_size} bytes"
    return "is packed in a way that torch does not use"


def _root_of(entries: list[zipfile.ZipInfo]) -> str:
    """Return the top folder that all entries are in, with its slash; empty where there is none."""
    roots = {entry.filename.partition("/")[0] for entry in entries}
    if len(roots) == 1 and all("/" in entry.filename for entry in entries):
        return f"{roots.pop()}/"
    return ""
