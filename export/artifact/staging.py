"""The place of an artifact while it is written: beside its target, and moved there when whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from edgernn.artifact import CONTRACT_FILE
from edgernn.errors import InputError, OutputExistsError

__all__ = ["staged"]

_PARTIAL = ".partial"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_AT_FDCWD = -100


@contextlib.contextmanager
def staged(path: str | Path, force: bool = False) -> Iterator[Path]:
    """Give an empty folder beside `path` and move it to `path` when the block ends well.

    Whatever happens inside, `path` holds either what it held before or the whole new folder, at
    every moment: on Linux and macOS both are exchanged in one operation. Where the system or the
    file system cannot exchange folders (Windows, some network drives), an artifact that is replaced
    is missing between two renames; where a process is killed there, the next call brings it back.
    The next call also removes what killed processes left.

    One target is written by one call at a time. Where `path` is a link, the folder that it leads to
    is replaced and the link stays.

    Args:
        path: The folder to write; folders above it are made.
        force: Whether to replace an artifact that exists.

    Raises:
        OutputExistsError: `path` exists and `force` is false, or it is not an artifact, or another
            call is writing it.
        InputError: Nothing can be written there.
    """
    if "\0" in str(path):
        raise InputError(f"`{str(path)!r}` cannot be written: its name holds a NUL character.")
    shown = Path(path).absolute()
    target = Path(os.path.realpath(shown))
    if not target.name:
        raise InputError(f"`{shown}` cannot be written: it has no folder above it.")
    with _parents(target, shown), _locked(target, shown):
        _clear(target)
        _check_free(target, shown, force)
        folder = target.with_name(f".{target.name}-{secrets.token_hex(4)}{_PARTIAL}")
        try:
            folder.mkdir()
            yield folder
            for file in folder.rglob("*"):
                _flush(file)
            _flush(folder)
            _check_free(target, shown, force)
            _move(folder, target)
            _flush(target.parent)
        finally:
            _clear(target)


@contextlib.contextmanager
def _parents(target: Path, shown: Path) -> Iterator[None]:
    """Make the folders above `target`; a block that fails leaves none that it made."""
    made = [folder for folder in target.parents if not folder.exists()]
    above = target.parents[len(made)]
    if not above.is_dir():
        raise InputError(f"`{shown}` cannot be written: `{above}` is not a folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(shown, error) from error
    try:
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _locked(target: Path, shown: Path) -> Iterator[None]:
    """Hold the lock of `target`, a hidden file beside it; the system frees that of a dead process.

    Raises:
        OutputExistsError: Another call holds it.
        InputError: No file can be made there.
    """
    file = target.with_name(f".{target.name}.lock")
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputExistsError(
            f"`{shown.name}` in `{shown.parent}` is being written by another export. Wait until "
            "that has ended, or give another name with -o."
        ) from None
    except OSError as error:
        raise _unwritable(shown, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            file.unlink()
        lock.release()


def _check_free(target: Path, shown: Path, force: bool) -> None:
    """Check that `target` does not exist or may be replaced.

    Raises:
        OutputExistsError: It may not.
    """
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputExistsError(
            f"`{shown.name}` exists already in `{shown.parent}`. Give another name with -o, or "
            "replace it with --force."
        )
    graphs = ("sequence.onnx", "step.onnx")
    if not (target / CONTRACT_FILE).is_file() or not any((target / g).exists() for g in graphs):
        raise OutputExistsError(
            f"`{shown.name}` in `{shown.parent}` exists and is not an artifact; --force replaces "
            "artifacts only. Give another name with -o."
        )


def _move(folder: Path, target: Path) -> None:
    """Move the new folder to `target`, and what was there beside it."""
    if not target.exists():
        folder.rename(target)
        return
    shutil.copymode(target, folder)
    if not _exchanged(folder, target):
        target.rename(_old(target))
        folder.rename(target)


def _exchanged(one: Path, other: Path) -> bool:
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


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}-old{_PARTIAL}")


def _clear(target: Path) -> None:
    """Remove what is left beside `target`; bring back an artifact that was about to be replaced.

    Only the holder of the lock calls this, so that nothing there belongs to a living process.
    """
    if _old(target).exists() and not target.exists():
        _old(target).rename(target)
    start = f".{target.name}-"
    for entry in list(target.parent.iterdir()):
        own = entry.name.startswith(start) and entry.name.endswith(_PARTIAL)
        # A hyphen in the rest is another artifact's, whose name begins like this one's.
        if own and "-" not in entry.name.removeprefix(start):
            shutil.rmtree(entry, ignore_errors=True)


def _flush(path: Path) -> None:
    """Have the operating system write a file or a folder's entries to the disk."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"`{path}` cannot be written: {error.strerror or error}.")
