"""Write the outputs of a model as whole arrays: .npy or .npz, or text for a terminal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgernn.cli.data_files.output_file import write_npy, write_npz
from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.cli.terminal_notes import note
from edgernn.errors import InputError

__all__ = ["ArrayWriter"]

_MOST_SHOWN = 120


class ArrayWriter:
    """Writes whole arrays: from memory, or from mapped files where the number of steps is known."""

    def __init__(self, layout: OutputLayout, folder: Path | None) -> None:
        self._axes, self._batched, self._steps = layout.axes, layout.batched, layout.steps
        self._folder = folder
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in layout.axes}
        self._files: dict[str, NDArray[Any]] = {}
        self._written: dict[str, int] = dict.fromkeys(layout.axes, 0)

    def write(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Add the outputs of one chunk, in the ports' full shapes, by name."""
        for name, array in outputs.items():
            axis = self._axes[name]
            if axis.sequence is None:
                self._parts[name] = [array]
                continue
            if self._folder is None:
                self._parts[name].append(array)
                continue
            start, length = self._written[name], array.shape[axis.sequence]
            file = self._mapped_file(name, array)
            axis.slice_steps(file, start, start + length)[...] = array
            self._written[name] += length

    def _mapped_file(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if name not in self._files:
            shape = list(array.shape)
            shape[self._axes[name].sequence or 0] = (self._steps or {})[name]
            path = f"{self._folder}/{len(self._files)}"
            file = np.lib.format.open_memmap(path, "w+", array.dtype, tuple(shape))
            _reserve_space(path)
            self._files[name] = file
        return self._files[name]

    def _all_arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {
            name: self._axes[name].slice_steps(file, 0, self._written[name])
            for name, file in self._files.items()
        }
        for name, parts in self._parts.items():
            if parts:
                arrays[name] = self._axes[name].join_chunks(parts)
        if self._batched:
            return arrays
        return {name: self._axes[name].without_batch(array) for name, array in arrays.items()}

    def save(self, stream: IO[bytes], format_: str) -> None:
        """Write the arrays as .npy, which takes one, or as .npz, without those that never came.

        Raises:
            InputError: The only one never came.
        """
        arrays = self._all_arrays()
        late = " and ".join(f"`{name}`" for name in self._axes if name not in arrays)
        if late and format_ == "npy":
            raise InputError(f"The sequence ends before {late} is defined. Give more steps.")
        if late:
            note(f"missing {late}, as the sequence ends before that is defined")
        if format_ == "npy":
            (array,) = arrays.values()
            write_npy(stream, array)
        else:
            write_npz(stream, arrays)

    def as_text(self) -> str:
        """Return the arrays as text for a terminal: of many numbers, the first and the last."""
        width = shutil.get_terminal_size().columns
        return "\n".join(
            f"{name}: {array.dtype}{list(array.shape)}\n"
            + np.array2string(array, width, precision=6, threshold=_MOST_SHOWN, edgeitems=4)
            for name, array in self._all_arrays().items()
        )

    @property
    def is_shortened(self) -> bool:
        """Whether `as_text` leaves numbers out."""
        return any(array.size > _MOST_SHOWN for array in self._all_arrays().values())


def _reserve_space(path: str) -> None:
    """Allocate a file on disk: a mapped file that finds no space later kills the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
