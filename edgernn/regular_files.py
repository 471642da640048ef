"""Files that others made: regular files of a limited size.

Every reader of edgernn checks a file here before it opens it. A pipe without a writer, a device
without an end or a huge file is then an error instead of a process that hangs or fills the memory.
"""

from __future__ import annotations

import stat
from pathlib import Path

from edgernn.errors import EdgernnError

__all__ = ["MEGABYTE", "format_size", "read_bytes", "read_text", "regular_file_size"]

MEGABYTE = 2**20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def regular_file_size(
    path: Path, subject: str, error: type[EdgernnError], max_size: int | None = None
) -> int:
    """Return the size in bytes of a regular file; links are followed.

    Args:
        path: The file.
        subject: What to call it in messages.
        error: What to raise.
        max_size: The largest size in bytes; None for any.

    Raises:
        EdgernnError: Of the class `error`: the file is missing, inaccessible, not a regular file,
            or too large.
    """
    try:
        found = path.stat()
    except OSError as reason:
        raise error(f"{subject} cannot be read: {reason.strerror or reason}.") from reason
    except ValueError as reason:
        raise error(f"{subject} cannot be read: its name holds a NUL character.") from reason
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise error(f"{subject} cannot be read: it is {kind}, not a file.")
    if max_size is not None and found.st_size > max_size:
        raise error(
            f"{subject} is too large: it has {format_size(found.st_size)}; at most "
            f"{format_size(max_size)} are read."
        )
    return found.st_size


def read_bytes(path: Path, subject: str, error: type[EdgernnError], max_size: int) -> bytes:
    """Return the bytes of a regular file of at most `max_size` bytes.

    Raises:
        EdgernnError: As for `regular_file_size`, or the file cannot be read.
    """
    size = regular_file_size(path, subject, error, max_size)
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as reason:
        raise error(f"{subject} cannot be read: {reason.strerror or reason}.") from reason


def read_text(path: Path, subject: str, error: type[EdgernnError], max_size: int) -> str:
    """Return the text of a regular file of at most `max_size` bytes of UTF-8.

    Raises:
        EdgernnError: As for `read_bytes`, or the bytes are not UTF-8.
    """
    try:
        return read_bytes(path, subject, error, max_size).decode("utf-8")
    except UnicodeDecodeError as reason:
        raise error(f"{subject} is not UTF-8 text: {reason}.") from reason


def format_size(size: int) -> str:
    """Return a number of bytes in words: `64 MiB`, `1,000 bytes`."""
    return f"{size // MEGABYTE:,} MiB" if size >= MEGABYTE else f"{size:,} bytes"
