"""Read the arrays of a .npy or .npz file, or of a pipe with the content of one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any, cast

from numpy.typing import NDArray

from edgernn.cli.data_files.input_stream import content_of_pipe
from edgernn.errors import InputError
from edgernn.numpy_files import NotArraysError, load_npy, load_npz, read_npy

__all__ = ["load_arrays"]


class _PrependedStream:
    """A stream that cannot seek, with what was read of it put in front again."""

    def __init__(self, first: bytes, stream: IO[bytes]) -> None:
        self._first, self._stream = first, stream

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes."""
        part, self._first = self._first[:size], self._first[size:]
        return part or self._stream.read(size)


def load_arrays(
    format_: str, path: Path | None, first: bytes, stream: IO[bytes], where: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name; the array of a .npy has the name "".

    Args:
        format_: `npy` or `npz`.
        path: The file; None for a stream that cannot seek.
        first: What was read of the stream.
        stream: The stream itself.
        where: What messages call it.

    Raises:
        InputError: It cannot be read, or holds something else.
    """
    try:
        if format_ == "npz":
            packed = stream if path else content_of_pipe(first, stream, where)
            return load_npz(packed, packed.seek(0, io.SEEK_END))
        if path is None:
            return {"": read_npy(cast(IO[bytes], _PrependedStream(first, stream)))}
        return {"": load_npy(path, path.stat().st_size, mapped=True)}
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror or error}.") from error
    except NotArraysError as error:
        raise InputError(f"{where} is not a readable .{format_} file: {error}.") from error
