"""Arrays from .npy and .npz files that others made: plain numbers, of a size checked first.

NumPy's own readers accept pickles, text and structured dtypes, allocate memory of the size in the
header before they read the data, and raise any exception of their parser.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgernn.regular_files import MEGABYTE, format_size

__all__ = ["NPY_MAGIC", "ZIP_MAGIC", "NotArraysError", "load_npy", "load_npz", "read_npy"]

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"

_MAX_DECOMPRESSED = 1024 * MEGABYTE
_MAX_ENTRIES = 10_000
_PIECE = 16 * MEGABYTE
_KINDS = "biuf"


class NotArraysError(Exception):
    """When a file does not hold plain arrays of numbers; the message says why, as a clause."""


@dataclass(frozen=True)
class _Header:
    """The header of an array.

    Attributes:
        dtype: A dtype of numbers.
        shape: The shape.
        order: `C` or `F`.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    @property
    def nbytes(self) -> int:
        """The number of bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, present: int) -> None:
        """Check that the data has as many bytes as the header says.

        Raises:
            NotArraysError: It has fewer, or more.
        """
        if self.nbytes != present:
            raise NotArraysError(
                f"its header says {self.nbytes:,} bytes of numbers, but {present:,} are there"
            )

    def array(self, data: bytearray) -> NDArray[Any]:
        """Return the data as an array of the header's dtype and shape."""
        try:
            return np.ndarray(self.shape, self.dtype, data, order=self.order)
        except (ValueError, TypeError) as error:  # more axes, or larger ones, than NumPy has
            raise NotArraysError(f"its shape is {_describe_shape(self.shape)}") from error


def load_npy(path: Path, size: int, mapped: bool = False) -> NDArray[Any]:
    """Read the array of a .npy file.

    Args:
        path: A regular file.
        size: Its size in bytes.
        mapped: Whether to map the file into memory instead of reading it.

    Raises:
        NotArraysError: It is not a .npy file of numbers, or not as long as its header says.
        OSError: The operating system refuses.
    """
    with path.open("rb") as stream:
        header = _read_header(stream)
        start = stream.tell()
        header.check(size - start)
        if not mapped or not header.nbytes:
            return header.array(_read_numbers(stream, header.nbytes))
    try:
        mapping: NDArray[Any] = np.memmap(
            path, header.dtype, "r", start, header.shape, header.order
        )
    except (ValueError, TypeError) as error:
        raise NotArraysError(f"its shape is {_describe_shape(header.shape)}") from error
    return mapping


def read_npy(stream: IO[bytes]) -> NDArray[Any]:
    """Read the array of a .npy file from a pipe that ends after it.

    Raises:
        NotArraysError: It is not a .npy file of numbers, or not as long as its header says.
    """
    header = _read_header(stream)
    data = _read_numbers(stream, header.nbytes)
    header.check(len(data) + len(stream.read(1)))
    return header.array(data)


def load_npz(file: IO[bytes], size: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of a .npz file, by name.

    Args:
        file: The file, open for reading, seekable.
        size: Its size in bytes.

    Raises:
        NotArraysError: It is not a .npz file of arrays of numbers, or decompresses to too much.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(entries, size)
            return {entry.filename[:-4]: _read_entry(archive, entry) for entry in entries}
    except NotArraysError:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen classes
        reason = str(error).rstrip(".") or type(error).__name__
        raise NotArraysError(reason) from error


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    if len(entries) > _MAX_ENTRIES:
        raise NotArraysError(f"it has {len(entries):,} entries; at most {_MAX_ENTRIES:,} are read")
    names: set[str] = set()
    for entry in entries:
        name = ascii(entry.filename[:60])
        if not entry.filename.endswith(".npy"):
            raise NotArraysError(f"its entry {name} is not a .npy file")
        if entry.filename in names:
            raise NotArraysError(f"it has two entries named {name}")
        names.add(entry.filename)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotArraysError(f"its entry {name} is not compressed as NumPy compresses")
    compressed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    decompressed = sum(entry.file_size for entry in compressed)
    if decompressed > _MAX_DECOMPRESSED:
        raise NotArraysError(
            f"it decompresses to {format_size(decompressed)}; the limit is "
            f"{format_size(_MAX_DECOMPRESSED)}, except without compression (numpy.savez)"
        )
    if sum(entry.file_size for entry in entries) - decompressed > size:
        raise NotArraysError("its entries have more bytes than the file")


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as stream:
        header = _read_header(stream)
        header.check(entry.file_size - stream.tell())
        data = _read_numbers(stream, header.nbytes)
        header.check(len(data) + len(stream.read(1)))
        return header.array(data)


def _read_header(stream: IO[bytes]) -> _Header:
    """Read the header, and leave the stream at the data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            version = npy.read_magic(stream)
            readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            if version not in readers:
                raise NotArraysError(f"it is of version {'.'.join(map(str, version))} of .npy")
            shape, fortran, dtype = readers[version](stream)
    except (NotArraysError, zipfile.BadZipFile):
        raise
    except Exception as error:  # the header is a Python literal; its parser raises many classes
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise NotArraysError(f"its header cannot be read ({reason[:200]})") from error
    if dtype.kind not in _KINDS:
        raise NotArraysError(f"it holds {str(dtype)[:60]}, not numbers")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise NotArraysError(f"its shape is {_describe_shape(shape)}")
    return _Header(dtype, shape, "F" if fortran else "C")


def _read_numbers(stream: IO[bytes], size: int) -> bytearray:
    """Read at most `size` bytes in pieces, so that memory grows with the data, not the header."""
    data = bytearray()
    try:
        while len(data) < size and (piece := stream.read(min(_PIECE, size - len(data)))):
            data += piece
    except MemoryError as error:
        raise NotArraysError(f"memory does not hold its {format_size(size)}") from error
    return data


def _describe_shape(shape: tuple[Any, ...]) -> str:
    text = ", ".join(str(length)[:20] for length in shape[:8])
    return f"({text}{', …' if len(shape) > 8 else ''}), which no array has"
