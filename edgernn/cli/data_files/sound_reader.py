"""Read steps from a sound file, block by block: .wav, .flac or .ogg; a step is one sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any, BinaryIO, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgernn.cli.data_files.csv_columns import choose_columns
from edgernn.cli.data_files.step_rows import StepRows
from edgernn.errors import InputError
from edgernn.runtime.port_axes import PortAxes, required_axes

__all__ = ["SoundReader"]

_BLOCK = 65536
_UNKNOWN_LENGTH = 2**62


class SoundReader:
    """The samples of a sound file: one step each, a column for every channel.

    Attributes:
        rate: The number of samples per second.
        steps: The number of samples; None where the file does not say it.
    """

    def __init__(
        self, stream: IO[bytes], axes: Mapping[str, PortAxes], where: str, columns: str | None
    ) -> None:
        """Read the header.

        Args:
            stream: The file, which can seek.
            axes: The data inputs of the model.
            where: What messages call the file.
            columns: The channels that `--columns` names; None for all.

        Raises:
            InputError: It is not a sound, has no samples, or does not fit the model.
        """
        self._where = where
        self._port, self._rows = _input_of_samples(axes, where)
        stream.seek(0)
        try:
            self._file = soundfile.SoundFile(cast(BinaryIO, stream))
        except soundfile.LibsndfileError as error:
            raise InputError(f"{where} cannot be read as a sound: {error.error_string}") from error
        self.rate: int = self._file.samplerate
        frames = self._file.frames
        self.steps: int | None = frames if frames < _UNKNOWN_LENGTH else None
        if frames == 0:
            raise InputError(f"{where} holds no samples; at least one is needed.")
        self._channels = self._choose(columns)

    def chunks(self, size: int | None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield chunks of at most `size` steps, in the port's full shape; None for one chunk.

        Raises:
            InputError: A sample is NaN or infinite, or the file ends before its header says.
        """
        done = 0
        while blocks := self._read(size, done):
            where = self._where if done == 0 else f"{self._where}, from step {done} on,"
            rows = np.concatenate(blocks)[:, self._channels]
            yield {self._port: self._rows.to_chunk(rows, where)}
            done += len(rows)
        if self.steps is not None and done < self.steps:
            raise self._broken(done)

    def _read(self, size: int | None, done: int) -> list[NDArray[np.float32]]:
        """Return at most `size` steps in blocks, (steps, channels)."""
        blocks: list[NDArray[np.float32]] = []
        left = size
        while left is None or left:
            count = _BLOCK if left is None else min(left, _BLOCK)
            try:
                block = self._file.read(count, "float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise self._broken(done) from error
            if not len(block):
                break
            blocks.append(cast("NDArray[np.float32]", block))
            left = None if left is None else left - len(block)
        return blocks

    def _broken(self, done: int) -> InputError:
        return InputError(
            f"{self._where} cannot be read after {done:,} of {self.steps:,} samples: the file is "
            "damaged or cut off. Give a whole file."
        )

    def _choose(self, columns: str | None) -> list[int]:
        """Return the indexes of the channels that feed the model."""
        count, rows = self._file.channels, self._rows
        if columns is not None:
            chosen = choose_columns(columns, None, self._where, count)
            if not rows.fits(len(chosen)):
                raise InputError(
                    f"--columns names {_channels(len(chosen))}; {rows.takes} per step."
                )
            return chosen
        if rows.fits(count):
            return list(range(count))
        message = f"{self._where} has {_channels(count)}; {rows.takes} per step."
        fewer = next((size for size in range(count - 1, 0, -1) if rows.fits(size)), None)
        if fewer is None:
            raise InputError(f"{message} Give a sound with as many.")
        first = "1" if fewer == 1 else f"1-{fewer}"
        raise InputError(f"{message} Choose {fewer} by number, such as --columns {first}.")


def _input_of_samples(axes: Mapping[str, PortAxes], where: str) -> tuple[str, StepRows]:
    """Return the only input, which takes the samples.

    Raises:
        InputError: There is another, or it does not take samples.
    """
    inputs = required_axes(axes)
    if len(inputs) != 1:
        raise InputError(
            f"{where} is a sound, which holds one input; the model has {len(inputs)}: "
            f"{', '.join(f'`{name}`' for name in inputs)}. Give .npz or .jsonl."
        )
    ((name, axis),) = inputs.items()
    rows = StepRows(axis)
    is_real = np.dtype(axis.port.dtype).kind == "f"
    if not is_real or axis.sequence is None or rows.shape.count(-1) > 1:
        raise InputError(
            f"{where} is a sound, whose steps are real numbers, one per channel; `{axis.port}` "
            "does not take that. Give .npy, .npz or .jsonl."
        )
    return name, rows


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
