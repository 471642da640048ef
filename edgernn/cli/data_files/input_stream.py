"""The bytes and lines of an input: a file, standard input, or what the shell opened."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgernn.errors import InputError
from edgernn.numpy_files import NPY_MAGIC, ZIP_MAGIC
from edgernn.regular_files import MEGABYTE, format_size, regular_file_size

__all__ = [
    "content_of_pipe",
    "decode_lines",
    "is_descriptor",
    "line_of",
    "open_input",
    "peek",
    "read_line",
]

_MAX_LINE = 16 * MEGABYTE
_MAX_PIPE = 1024 * MEGABYTE


def is_descriptor(path: str) -> bool:
    """Return whether `path` is a descriptor that the shell opened, which may be a pipe."""
    return path in ("-", "/dev/stdin") or path.startswith(("/dev/fd/", "/proc/self/fd/"))


def open_input(path: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Open a regular file, a descriptor or, for `-`, standard input.

    Raises:
        InputError: It is something else, or cannot be read.
    """
    if path == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    subject = f"Input `{path}`"
    if not is_descriptor(path):
        regular_file_size(Path(path), subject, InputError)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(f"{subject} cannot be read: {error.strerror or error}.") from error


def peek(stream: IO[bytes], size: int) -> bytes:
    """Return at most `size` first bytes of a stream, which are read again after that."""
    if isinstance(stream, io.BufferedReader):
        return stream.peek(size)[:size]
    start = stream.read(size)
    stream.seek(-len(start), io.SEEK_CUR)
    return start


def read_line(stream: IO[bytes], number: int, where: str) -> bytes:
    """Return the next line; of an array, its first bytes.

    Args:
        stream: What is read.
        number: The number of the line, for messages.
        where: What messages call the stream.

    Raises:
        InputError: The line is too long, or cannot be read.
    """
    try:
        line = stream.readline(_MAX_LINE + 1)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror or error}.") from error
    if len(line) > _MAX_LINE and not line.startswith((NPY_MAGIC, ZIP_MAGIC)):
        raise InputError(
            f"{line_of(number, where)} is longer than {format_size(_MAX_LINE)}. Give one step "
            "per line."
        )
    return line


def content_of_pipe(first: bytes, stream: IO[bytes], where: str) -> IO[bytes]:
    """Return what comes from a pipe, as a stream that can seek.

    Args:
        first: What was read of it.
        stream: The rest of it.
        where: What messages call it.

    Raises:
        InputError: It is too long.
    """
    content = io.BytesIO(first + stream.read(_MAX_PIPE))
    if stream.read(1):
        raise InputError(
            f"{where} is longer than {format_size(_MAX_PIPE)}, the most that edgernn takes from a "
            "pipe. Give the name of a file."
        )
    return content


def line_of(number: int, where: str) -> str:
    """Return how messages call a line: ``Line 3 of `x.csv` ``, `Line 3 of standard input`."""
    return f"Line {number} of {where[0].lower()}{where[1:]}"


def decode_lines(first: bytes, stream: IO[bytes], where: str) -> Iterator[str]:
    """Yield `first` and the lines after it as text.

    Raises:
        InputError: A line is not UTF-8, too long, or cannot be read.
    """
    line, number = first, 1
    while line:
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{where} is neither .npy nor .npz nor UTF-8 text (line {number}). Give .npy, "
                ".npz, or .csv or .jsonl in UTF-8, which Excel writes as `CSV UTF-8`."
            ) from None
        number += 1
        line = read_line(stream, number, where)
