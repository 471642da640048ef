"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgernn.errors import InputError

__all__ = ["replaced", "write_npz"]


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path in a folder beside `path` and move its file to `path` when the block ends well.

    The folder may hold other files meanwhile and is gone afterwards.

    Raises:
        InputError: Nothing can be written beside `path`.
    """
    try:
        beside = tempfile.TemporaryDirectory(".partial", f".{path.name}-", path.absolute().parent)
    except OSError as error:
        raise InputError(f"`{path}` cannot be written: {error.strerror or error}.") from error
    with beside as folder:
        partial = Path(folder, path.name)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)


def write_npz(target: Path | IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of any name and size as .npz, without a copy of them in memory."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
