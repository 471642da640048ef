"""Write the output of a model as a sound file, chunk by chunk: .wav, .flac or .ogg."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgernn.cli.data_files.output_layout import OutputLayout
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes

__all__ = ["SoundWriter"]

_ENCODINGS = {"wav": ("WAV", "FLOAT"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}
"""Suffix → the format and how it stores a sample, as libsndfile names them."""

_KEEPS_ALL = ("FLOAT",)
_BLOCK = 65536  # libsndfile's stack overflows where Vorbis takes many more at once


class SoundWriter:
    """Writes the steps of one output as samples: a channel for each feature.

    A .wav holds float32 samples, exactly those of the model. A .flac holds 16-bit integers and
    an .ogg is compressed with loss; in both, values beyond -1 and 1 are clipped.

    Attributes:
        rate: The number of samples per second.
        clipped: The number of values that were clipped.
        values: The number of all values.
    """

    def __init__(self, path: str, format_: str, layout: OutputLayout, shown: str) -> None:
        """Prepare the file, which is opened by the first `write`.

        Args:
            path: The file to write, which exists.
            format_: `wav`, `flac` or `ogg`.
            layout: What the outputs are.
            shown: What messages call the file.

        Raises:
            InputError: The outputs are not one sound, or its rate is unknown or not an integer.
        """
        self._path, self._shown = path, shown
        self._axis = _axes_of_sound(layout.axes, shown)
        self.rate = _integer_rate(layout.rates, self._axis, shown)
        self._format, self._subtype = _ENCODINGS[format_]
        self._file: soundfile.SoundFile | None = None
        self.clipped = self.values = 0

    def write(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Write the output of one chunk, in the port's full shape, under its name.

        Raises:
            InputError: It has several sequences, or values that are NaN or infinite; or the format
                does not take its channels or rate.
        """
        axis = self._axis
        array = outputs[axis.port.name]
        if axis.batch is not None and array.shape[axis.batch] > 1:
            raise InputError(
                f"`{axis.port.name}` has {array.shape[axis.batch]} sequences; a sound holds one. "
                "Write .npy, .npz or .jsonl."
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"`{axis.port.name}` has values that are NaN or infinite, which are no sound. "
                "Write .npy, .npz or .csv to look for them."
            )
        rows = np.moveaxis(array, axis.sequence or 0, 0)
        rows = rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(np.float32)
        if self._subtype not in _KEEPS_ALL:
            self.clipped += int(np.count_nonzero(np.abs(rows) > 1))
            rows = rows.clip(-1, 1)
        self.values += rows.size
        try:
            if self._file is None:
                self._file = self._open(rows.shape[1])
            for start in range(0, len(rows), _BLOCK):
                self._file.write(rows[start : start + _BLOCK])
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"`{self._shown}` cannot be written as {self._format} with {rows.shape[1]} "
                f"channels of {self.rate:,} Hz: {error.error_string} Write .npy or .csv."
            ) from error

    def _open(self, channels: int) -> soundfile.SoundFile:
        return soundfile.SoundFile(
            self._path, "w", self.rate, channels, self._subtype, format=self._format
        )

    def close(self) -> None:
        """Complete the file."""
        if self._file is not None:
            self._file.close()


def _axes_of_sound(axes: Mapping[str, PortAxes], shown: str) -> PortAxes:
    """Return the axes of the only output, if its steps are samples of channels.

    Raises:
        InputError: There is another, or they are not.
    """
    if len(axes) != 1:
        raise InputError(
            f"`{shown}` holds one output; the model has {len(axes)}: "
            f"{', '.join(f'`{name}`' for name in axes)}. Write .npz or .jsonl."
        )
    (axis,) = axes.values()
    is_real = np.dtype(axis.port.dtype).kind == "f"
    if not is_real or axis.sequence is None or len(axis.features) > 1:
        raise InputError(
            f"`{shown}` holds real numbers, one per channel and step; `{axis.port}` is something "
            "else. Write .npy or .jsonl."
        )
    return axis


def _integer_rate(rates: Mapping[str, float], axis: PortAxes, shown: str) -> int:
    """Return the number of steps of an output per second.

    Raises:
        InputError: It is unknown, or not an integer.
    """
    rate = rates.get(axis.port.name)
    if rate is None:
        raise InputError(
            f"`{shown}` needs a sampling rate, which neither the input nor the model has. Give a "
            "sound with --input, or export the model with --rate."
        )
    if rate != round(rate):
        raise InputError(
            f"`{axis.port}` has {rate:g} steps per second, and `{shown}` needs a rate that is an "
            "integer. Write .npy or .csv."
        )
    return round(rate)
