"""Files that somebody else wrote: regular ones, and at most so many bytes of them.

Every reader of edgernn asks here before it opens a file, so that a pipe without a writer, a device
without an end or a file without measure is a sentence instead of a process that hangs or grows.
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
    path: Path, subject: str, error: type[EdgernnError], most: int | None = None
) -> int:
    """Return the size in bytes of a regular file; links are followed.

    Args:
        path: The file.
        subject: What to call it in messages.
        error: What to raise.
        most: The largest size that is read; None for any.

    Raises:
        EdgernnError: Of the class `error`: the file is missing, cannot be asked for, is no regular
            file, or is too large.
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
    if most is not None and found.st_size > most:
        raise error(
            f"{subject} is too large: it has {format_size(found.st_size)}; at most "
            f"{format_size(most)} are read."
        )
    return found.st_size


def read_bytes(path: Path, subject: str, error: type[EdgernnError], most: int) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes.

    Raises:
        EdgernnError: As for `regular`, or the file cannot be read.
    """
    size = regular_file_size(path, subject, error, most)
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as reason:
        raise error(f"{subject} cannot be read: {reason.strerror or reason}.") from reason


def read_text(path: Path, subject: str, error: type[EdgernnError], most: int) -> str:
    """Return the text of a regular file of at most `most` bytes of UTF-8.

    Raises:
        EdgernnError: As for `read`, or the bytes are no UTF-8.
    """
    try:
        return read_bytes(path, subject, error, most).decode("utf-8")
    except UnicodeDecodeError as reason:
        raise error(f"{subject} is not UTF-8 text: {reason}.") from reason


def format_size(size: int) -> str:
    """Return a number of bytes as people say it: `64 MiB`, `1,000 bytes`."""
    return f"{size // MEGABYTE:,} MiB" if size >= MEGABYTE else f"{size:,} bytes"
