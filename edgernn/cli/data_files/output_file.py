"""Where a command writes: a file that appears when it is complete, or a device or pipe."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.terminal_notes import note
from edgernn.errors import InputError, OutputExistsError

__all__ = ["OpenOutput", "OutputFile", "write_npy", "write_npz"]

_DESCRIPTOR = re.compile(r"/dev/(?:fd/(\d+)|(stdout)|(stderr))|/proc/(?:self|thread-self)/fd/(\d+)")
_PARTIAL = ".part"
_MAX_LINKS = 40  # as many as Linux follows


@dataclass(frozen=True)
class OpenOutput:
    """An output file while it is written.

    Attributes:
        stream: Where the content goes.
        folder: A temporary folder on the same disk; None for a device or pipe.
    """

    stream: IO[bytes]
    folder: Path | None

    @contextlib.contextmanager
    def text(self) -> Iterator[IO[str]]:
        """Open a stream of text into the file, in UTF-8, without conversion of line ends."""
        stream = io.TextIOWrapper(self.stream, "utf-8", newline="")
        try:
            yield stream
        finally:
            stream.detach()


class OutputFile:
    """A file, device or pipe that an option names.

    A file appears under its name only when it is complete. One that exists is replaced only on
    request; it keeps its permissions, and a link to it stays a link. A device, a pipe or an open
    descriptor (`/dev/stdout`, `/dev/fd/3`) is written into.

    Attributes:
        path: The path as it was given.
        is_stream: Whether it is written into and never replaced.
    """

    def __init__(self, path: Path, option: str = "--output", replace: bool = False) -> None:
        self.path = path
        self._option = option
        self._replace = replace
        self._file = Path(os.path.realpath(path))
        self._descriptor = _descriptor(path)
        special = path.exists() and not path.is_file() and not path.is_dir()
        self.is_stream = special or self._descriptor is not None

    def check(self) -> None:
        """Check that the file can be written, as far as is known without writing.

        Raises:
            OutputExistsError: It is a file that exists and must not be replaced.
            InputError: It cannot be written.
        """
        if self.is_stream:
            return
        self._check_file()
        with self._temporary_folder():
            pass

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenOutput]:
        """Open it; a file takes its name when the block succeeds.

        Raises:
            OutputExistsError: It is a file that exists and must not be replaced.
            InputError: It cannot be written.
        """
        if self.is_stream:
            with self._stream() as stream:
                yield OpenOutput(stream, None)
            return
        with self._temporary_folder() as folder:
            partial = folder / self._file.name
            with partial.open("wb") as stream:
                yield OpenOutput(stream, folder)
                stream.flush()
                os.fsync(stream.fileno())
            self._check_file()
            if self._file.exists():
                shutil.copymode(self._file, partial)
            partial.replace(self._file)

    def note(self, what: str, details: str = "") -> None:
        """Note that the file is written: `wrote   y.csv: 200 steps`; nothing for a stream."""
        if not self.is_stream:
            note(f"{what:<7} {self.path}{details and f': {details}'}")

    def _check_file(self) -> None:
        if self._file.is_symlink():
            raise InputError(f"`{self.path}` cannot be written: it is a link that leads to itself.")
        if self._file.is_dir():
            raise InputError(f"`{self.path}` is a folder; {self._option} takes a file.")
        if not self._file.exists():
            return
        if not self._replace:
            raise OutputExistsError(
                f"`{self.path}` exists already. Give another name with {self._option}, or replace "
                "it with --force."
            )
        if not os.access(self._file, os.W_OK):
            raise InputError(f"`{self.path}` cannot be written: it is read-only.")

    @contextlib.contextmanager
    def _temporary_folder(self) -> Iterator[Path]:
        """Open a new folder on the same disk, and remove those of killed processes."""
        parent, start = self._file.parent, f".{self._file.name}-"
        try:
            for entry in list(parent.iterdir()):
                name = entry.name.removeprefix(start)
                # With a hyphen in the rest it belongs to another file, whose name starts alike.
                if name != entry.name and name.endswith(_PARTIAL) and "-" not in name:
                    _clear(entry)
            folder, lock = _new_folder(parent, start)
        except OSError as error:
            raise self._write_error(error) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)

    @contextlib.contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        try:
            # Opening a descriptor by its name would write from the start of its file again.
            number = self._descriptor
            raw = self.path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")
        except OSError as error:
            raise self._write_error(error) from error
        with raw:
            yield cast("IO[bytes]", _UnseekableStream(raw))

    def _write_error(self, error: OSError) -> InputError:
        return InputError(f"`{self.path}` cannot be written: {error.strerror or error}.")


class _UnseekableStream(io.BufferedIOBase):
    """A stream without a position: a pipe, or a file that other processes write too."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()


def _new_folder(parent: Path, start: str) -> tuple[Path, int | None]:
    """Return a new folder and the descriptor that holds it."""
    while True:
        folder = Path(tempfile.mkdtemp(_PARTIAL, start, parent))
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # another run cleared it
            lock = _lock(folder)
            if lock is None or folder.exists():
                return folder, lock
            os.close(lock)


def _clear(folder: Path) -> None:
    """Remove a folder that no living process holds."""
    with contextlib.suppress(OSError):
        lock = _lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Hold a folder until this process ends or closes the descriptor that is returned.

    Returns:
        The descriptor; None where the system or the drive has no such locks.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: It cannot be opened.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a network drive that locks no folders
        os.close(descriptor)
        return None
    return descriptor


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path names, through links too."""
    place = os.path.abspath(path)
    for _ in range(_MAX_LINKS):
        if found := _DESCRIPTOR.fullmatch(place):
            number, stdout, stderr, other = found.groups()
            return 1 if stdout else 2 if stderr else int(number or other)
        if not os.path.islink(place):
            return None
        place = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))
    return None


def write_npy(stream: IO[bytes], array: NDArray[Any]) -> None:
    """Write an array as .npy, into pipes too."""
    # np.save writes past the stream where that is a file of the system's, and fails with a pipe
    np.lib.format.write_array(_UnseekableStream(stream), np.asanyarray(array), allow_pickle=False)


def write_npz(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of any name and size as .npz, without a copy of them in memory."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
