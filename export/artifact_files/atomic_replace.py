"""A folder that appears under its name only when it is complete.

with atomic_folder("m.edgernn") as folder:    # folder is .m.edgernn-1f2e3d4c.partial
...                                       # write files into it
# renamed to m.edgernn when the block ends well
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from edgernn.artifact import CONTRACT_FILE
from edgernn.errors import InputError, OutputExistsError
from edgernn.option_names import option

__all__ = ["atomic_folder", "check_replaceable"]

_PARTIAL = ".partial"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_AT_FDCWD = -100


@contextlib.contextmanager
def atomic_folder(path: str | Path, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path`; move it to `path` when the block ends without an error.

    At every moment `path` holds either what it held before or the whole new folder. On Linux and
    macOS the two are exchanged in one operation. Where the system or the file system cannot
    exchange folders (Windows, some network drives), an artifact that is being replaced is missing
    between two renames; if the process is killed there, the next call brings it back. The next call
    also removes what killed processes left.

    One call at a time writes a target. If `path` is a link, the folder that it leads to is replaced
    and the link stays.

    Args:
        path: The folder to write. Missing parent folders are created.
        force: Whether to replace an artifact that exists.

    Raises:
        OutputExistsError: `path` exists and `force` is false, or it is not an artifact, or another
            call is writing it.
        InputError: Nothing can be written there.
    """
    if "\0" in str(path):
        raise InputError(f"`{str(path)!r}` cannot be written: its name holds a NUL character.")
    path = Path(path).absolute()
    target = Path(os.path.realpath(path))
    if not target.name:
        raise InputError(f"`{path}` cannot be written: it has no folder above it.")
    with _parent_folders(target, path), _target_lock(target, path):
        _recover(target)
        _check_replaceable(target, path, force)
        folder = target.with_name(f".{target.name}-{secrets.token_hex(4)}{_PARTIAL}")
        try:
            folder.mkdir()
            yield folder
            for file in folder.rglob("*"):
                _sync(file)
            _sync(folder)
            _check_replaceable(target, path, force)
            _move_into_place(folder, target)
            _sync(target.parent)
        finally:
            _recover(target)


def check_replaceable(path: str | Path, force: bool = False) -> None:
    """Check that an artifact may be written to `path`, which `atomic_folder` checks again.

    Raises:
        OutputExistsError: `path` exists, and `force` is false or it is not an artifact.
    """
    path = Path(path).absolute()
    _check_replaceable(Path(os.path.realpath(path)), path, force)


@contextlib.contextmanager
def _parent_folders(target: Path, path: Path) -> Iterator[None]:
    """Create the folders above `target`, and remove them again if the block fails."""
    created = [folder for folder in target.parents if not folder.exists()]
    above = target.parents[len(created)]
    if not above.is_dir():
        raise InputError(f"`{path}` cannot be written: `{above}` is not a folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        yield
    except BaseException:
        for folder in created:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _target_lock(target: Path, path: Path) -> Iterator[None]:
    """Hold the lock of `target`, a hidden file; the system frees that of a dead process."""
    from filelock import FileLock, Timeout  # not there without the extra

    file = target.with_name(f".{target.name}.lock")
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputExistsError(
            f"`{path.name}` in `{path.parent}` is being written by another export. Wait until "
            f"that has ended, or give another name with {option('path')}."
        ) from None
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            file.unlink()
        lock.release()


def _check_replaceable(target: Path, path: Path, force: bool) -> None:
    """Raise OutputExistsError unless `target` is free, or an artifact and `force` is true."""
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputExistsError(
            f"`{path.name}` exists already in `{path.parent}`. Give another name with "
            f"{option('path')}, or replace it with {option('force', True)}."
        )
    graphs = ("sequence.onnx", "step.onnx")
    if not (target / CONTRACT_FILE).is_file() or not any((target / g).exists() for g in graphs):
        raise OutputExistsError(
            f"`{path.name}` in `{path.parent}` exists and is not an artifact; "
            f"{option('force', True)} replaces artifacts only. Give another name with "
            f"{option('path')}."
        )


def _move_into_place(folder: Path, target: Path) -> None:
    """Move the new folder to `target`; a folder that was there goes beside it."""
    if not target.exists():
        folder.rename(target)
        return
    shutil.copymode(target, folder)
    if not _exchange(folder, target):
        target.rename(_set_aside(target))
        folder.rename(target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one operation; return False where the system cannot."""
    paths = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            failed = library.renamex_np(*paths, _EXCHANGE)
        else:
            failed = library.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE)
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    return not failed


def _set_aside(target: Path) -> Path:
    """Return where an artifact is while its replacement is renamed."""
    return target.with_name(f".{target.name}-old{_PARTIAL}")


def _recover(target: Path) -> None:
    """Remove leftovers beside `target`; bring back an artifact whose replacement was interrupted.

    Only the holder of the lock calls this, so no running process uses what is removed.
    """
    if _set_aside(target).exists() and not target.exists():
        _set_aside(target).rename(target)
    start = f".{target.name}-"
    for entry in list(target.parent.iterdir()):
        is_leftover = entry.name.startswith(start) and entry.name.endswith(_PARTIAL)
        # A hyphen in the rest: a leftover of an artifact whose longer name has the same start.
        if is_leftover and "-" not in entry.name.removeprefix(start):
            shutil.rmtree(entry, ignore_errors=True)


def _sync(path: Path) -> None:
    """Write a file, or the entries of a folder, from the system's cache to the disk."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_error(path: Path, error: OSError) -> InputError:
    return InputError(f"`{path}` cannot be written: {error.strerror or error}.")
